package gate

import (
	"log/slog"
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/quota/statefile"
)

// ledger is a state file that is written ahead: a permit is used only once the file
// counts it. Permits are counted in blocks, so a crash loses at most a block, and a
// restart never spends a window twice. Gate.mu guards it.
type ledger struct {
	file    *statefile.File
	limiter *quota.Limiter // the limiter whose spending is kept
	due     chan struct{}  // has room for one: the file must be written
	block   int            // permits that are counted at a time
	covered int            // permits that the file counts and that are not used yet
	err     error          // the result of the last write
}

// newLedger returns a ledger and the limiter that knows what the file holds.
func newLedger(file *statefile.File, cfg quota.Config, now time.Time, logger *slog.Logger) *ledger {
	l := quota.New(cfg, now)
	saved, incomplete := file.Saved()
	if saved != nil {
		l, incomplete = quota.Restore(cfg, *saved, now), saved.Complete(cfg, now)
	}
	if incomplete != nil {
		logger.Warn("the state file may lack some of what was spent: starting carefully, as --first-window says", "file", file.Path(), "reason", incomplete)
	}
	d := &ledger{file: file, limiter: l, due: make(chan struct{}, 1), block: max(1, l.Config().Limit/20)}
	d.writeSoon() // the first block, before the first request
	return d
}

// spend uses one permit that the file counts. It returns false if there is none now.
func (d *ledger) spend() bool {
	if d.covered <= d.block/2 {
		d.writeSoon()
	}
	if d.covered == 0 {
		return false
	}
	d.covered--
	return true
}

// giveBack returns a permit that spend has given and that was not used.
func (d *ledger) giveBack() { d.covered++ }

// writeSoon has the file written.
func (d *ledger) writeSoon() {
	select {
	case d.due <- struct{}{}:
	default:
	}
}

// keepLedger writes the file whenever it is due, until stop is closed. Then it writes
// exactly what is spent, and closes the file.
func (g *Gate) keepLedger(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			g.ledger.covered = 0
			g.writeLedger(0)
			_ = g.ledger.file.Close()
			return
		case <-g.ledger.due:
		}
		g.writeLedger(g.ledger.block)
		g.poke()
	}
}

// writeLedger writes what is spent, and a block that may be spent from then on.
func (g *Gate) writeLedger(block int) {
	d := g.ledger
	g.mu.Lock()
	if d.covered > d.block { // it is written for a lease
		block = 0
	}
	s := d.limiter.Save(time.Now(), d.covered+block)
	s.Leases = g.leases.save()
	unkept := g.leases.unkept
	g.leases.unkept = nil
	g.mu.Unlock()
	err := d.file.Write(s)
	g.mu.Lock()
	defer g.mu.Unlock()
	// If the file can't be written, a restart may spend a window twice. To serve
	// nobody because a disk is full would be worse.
	d.covered += block
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
