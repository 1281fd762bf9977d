package gate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
)

// ledgerFile is the file's name in the state directory.
const ledgerFile = "quota.json"

// Ledger keeps what is spent of the quota in a file, across restarts. It is
// written ahead: a permit is only used once the file counts it, in blocks, so
// that a crash loses a block at most and never spends a window twice.
type Ledger struct {
	path   string
	lock   *os.File
	limits *quota.Limiter // whose spending it keeps
	saved  *quota.Saved   // what the file held, nil if nothing
	wants  chan struct{}  // has room for one: a block is wanted

	block int
	left  int   // permits that the file counts and that are not used yet; under Gate.mu
	err   error // of the last writing; under Gate.mu
}

// OpenLedger opens the ledger in dir, which must exist, for this process alone.
// A file that is there but can't be read is an error: it may be deleted, at the
// risk of spending a window twice. The gate that the ledger is given to closes it.
func OpenLedger(dir string) (*Ledger, error) {
	lock, err := lockFile(filepath.Join(dir, ledgerFile+".lock"))
	if err != nil {
		return nil, err
	}
	d := &Ledger{path: filepath.Join(dir, ledgerFile), lock: lock, wants: make(chan struct{}, 1)}
	text, err := os.ReadFile(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err == nil {
		var saved quota.Saved
		if saved, err = quota.ParseSaved(text); err == nil {
			d.saved = &saved
			return d, nil
		}
	}
	_ = lock.Close()
	return nil, fmt.Errorf("%s does not tell what is spent; delete it and start with --first-window wait: %w", d.path, err)
}

// limiter makes the limiter that knows of what was spent before.
func (d *Ledger) limiter(cfg quota.Config, now time.Time) *quota.Limiter {
	if d == nil {
		return quota.New(cfg, now)
	}
	l := quota.New(cfg, now)
	if d.saved != nil {
		l = quota.Restore(cfg, *d.saved, now)
	}
	d.limits = l
	d.block = max(1, l.Config().Limit/20)
	d.wants <- struct{}{} // the first block, before the first request
	return l
}

// spend uses one permit that the file counts; false if there is none for now.
func (d *Ledger) spend() bool {
	if d == nil {
		return true
	}
	if d.left <= d.block/2 {
		select {
		case d.wants <- struct{}{}:
		default:
		}
	}
	if d.left == 0 {
		return false
	}
	d.left--
	return true
}

// giveBack returns a permit that spend has given and that was not used.
func (d *Ledger) giveBack() {
	if d != nil {
		d.left++
	}
}

// write replaces the file.
func (d *Ledger) write(s quota.Saved) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	tmp := d.path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp, d.path)
}

// keepLedger writes blocks ahead until stop is closed, and then, exactly, what is spent.
func (g *Gate) keepLedger(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			g.ledger.left = 0
			g.saveLedger(0)
			_ = g.ledger.lock.Close()
			return
		case <-g.ledger.wants:
		}
		g.saveLedger(g.ledger.block)
		g.poke()
	}
}

// saveLedger writes what is spent, and a block more that then may be.
func (g *Gate) saveLedger(block int) {
	d := g.ledger
	g.mu.Lock()
	s := d.limits.Save(time.Now(), d.left+block)
	g.mu.Unlock()
	err := d.write(s)
	g.mu.Lock()
	defer g.mu.Unlock()
	// Without the file a restart may spend a window twice. That is a lesser evil
	// than to serve nobody because a disk is full.
	d.left += block
	if err != nil && d.err == nil {
		g.cfg.Logger.Error("what is spent of the quota can't be written: a restart may spend it twice", "error", err)
	}
	if err == nil && d.err != nil {
		g.cfg.Logger.Info("what is spent of the quota can be written again")
	}
	d.err = err
}
