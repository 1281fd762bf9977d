package gate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
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

	instance string        // of Clerk
	saved    *quota.Saved  // what the file held, nil if nothing that can be used
	unusable error         // why it can't be used
	wants    chan struct{} // has room for one: a block is wanted

	block int
	left  int   // permits that the file counts and that are not used yet; under Gate.mu
	err   error // of the last writing; under Gate.mu
}

// ledgerState is what the file holds.
type ledgerState struct {
	Instance string `json:"instance"`
	quota.Saved
}

// OpenLedger opens the ledger in dir, which must exist, for this process alone.
// instance names the instance of Clerk whose quota it is. A file that is there but
// does not tell what is spent of it, since it is corrupt or of another instance, is
// logged and counts as none. The gate that the ledger is given to closes it.
func OpenLedger(dir, instance string) (*Ledger, error) {
	lock, err := lockFile(filepath.Join(dir, ledgerFile+".lock"))
	if err != nil {
		return nil, err
	}
	d := &Ledger{path: filepath.Join(dir, ledgerFile), lock: lock, instance: instance, wants: make(chan struct{}, 1)}
	text, err := os.ReadFile(d.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		_ = lock.Close()
		return nil, err
	default:
		d.saved, d.unusable = parseLedger(text, instance)
	}
	return d, nil
}

// parseLedger reads what the file holds.
func parseLedger(text []byte, instance string) (*quota.Saved, error) {
	saved, err := quota.ParseSaved(text)
	if err != nil {
		return nil, err
	}
	var state ledgerState
	if err := json.Unmarshal(text, &state); err != nil {
		return nil, err
	}
	if state.Instance != instance {
		return nil, fmt.Errorf("it is of another instance, %q, and this one is %q", state.Instance, instance)
	}
	return &saved, nil
}

// limiter makes the limiter that knows of what was spent before.
func (d *Ledger) limiter(cfg quota.Config, now time.Time, logger *slog.Logger) *quota.Limiter {
	if d == nil {
		return quota.New(cfg, now)
	}
	l, why := quota.New(cfg, now), d.unusable
	if d.saved != nil {
		l, why = quota.Restore(cfg, *d.saved, now), d.saved.Complete(cfg, now)
	}
	if why != nil {
		logger.Warn("the state file may lack some of what was spent: starting carefully, as --first-window says", "file", d.path, "reason", why)
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
		d.want()
	}
	if d.left == 0 {
		return false
	}
	d.left--
	return true
}

// want has the file written.
func (d *Ledger) want() {
	select {
	case d.wants <- struct{}{}:
	default:
	}
}

// giveBack returns a permit that spend has given and that was not used.
func (d *Ledger) giveBack() {
	if d != nil {
		d.left++
	}
}

// write replaces the file.
func (d *Ledger) write(s quota.Saved) error {
	text, err := json.Marshal(ledgerState{d.instance, s})
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
	if d.left > d.block { // it is a lease that is to be written
		block = 0
	}
	s := d.limits.Save(time.Now(), d.left+block)
	s.Leases = g.leases.save()
	unkept := g.leases.unkept
	g.leases.unkept = nil
	g.mu.Unlock()
	err := d.write(s)
	g.mu.Lock()
	defer g.mu.Unlock()
	// Without the file a restart may spend a window twice. That is a lesser evil
	// than to serve nobody because a disk is full.
	d.left += block
	for _, le := range unkept {
		g.handOver(le)
	}
	if err != nil && d.err == nil {
		g.cfg.Logger.Error("what is spent of the quota can't be written: a restart may spend it twice", "error", err)
	}
	if err == nil && d.err != nil {
		g.cfg.Logger.Info("what is spent of the quota can be written again")
	}
	d.err = err
}

// save returns the leases that are lent, in a form that outlives the process.
func (ls *leases) save() (saved []quota.SavedLease) {
	for _, le := range ls.order {
		if le.state == leaseOver {
			continue
		}
		saved = append(saved, quota.SavedLease{
			ID: le.ID, Caller: le.name, Request: le.request.ID, TTL: le.request.TTL, Expires: le.Expires.Round(0), Loan: le.loan.Save(),
		})
	}
	return saved
}

// restoreLeases has those released and granted again that were lent by an earlier
// process. What they hold the limiter knows.
func (g *Gate) restoreLeases(now time.Time) {
	if g.ledger == nil || g.ledger.saved == nil {
		return
	}
	saved := *g.ledger.saved
	for _, l := range saved.Leases {
		left := min(l.Expires.Sub(now), l.Expires.Sub(saved.At), MaxLeaseTTL)
		if left <= 0 {
			continue
		}
		le := &lease{
			Lease:   Lease{ID: l.ID, Expires: now.Add(left)},
			request: LeaseRequest{Permits: l.Loan.Permits, TTL: l.TTL, ID: l.Request},
			name:    l.Caller, caller: g.callers.get(l.Caller),
			loan: saved.Loan(l.Loan, g.limiter.Config().LostHold, now), state: leaseOut,
		}
		g.leases.lent(le)
		if l.Request != "" {
			g.leases.remember(requestKey{l.Caller, l.Request}, le)
		}
	}
}
