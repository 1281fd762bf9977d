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
		logger.Warn("the state file may lack requests that were sent: --first-window sets what the first window may send", "file", file.Path(), "reason", incomplete)
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

// giveBack undoes a spend whose permit was not used.
func (d *ledger) giveBack() { d.covered++ }

// writeSoon makes keepLedger write the file.
func (d *ledger) writeSoon() {
	select {
	case d.due <- struct{}{}:
	default:
	}
}
