package gate

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// runWithLedger runs a gate on the ledger in dir while f runs.
func runWithLedger(t *testing.T, dir string, clerk *fakeClerk, f func(*Gate)) {
	t.Helper()
	d, err := OpenLedger(dir)
	if err != nil {
		t.Fatal(err)
	}
	runGate(t, d, clerk, f)
}

func runGate(t *testing.T, d *Ledger, clerk *fakeClerk, f func(*Gate)) {
	t.Helper()
	g := New(Config{Upstream: clerk, Ledger: d, Quota: quota.Config{Limit: 40, Window: time.Hour}})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = g.Run(ctx)
	}()
	f(g)
	stop()
	<-ended
}

func TestWhatIsSpentOutlivesARestart(t *testing.T) {
	dir := t.TempDir()
	clerk := &fakeClerk{}
	runWithLedger(t, dir, clerk, func(g *Gate) {
		for range 7 {
			if _, err := g.List(t.Context(), clerkapi.ListParams{}, Options{}); err != nil {
				t.Fatal(err)
			}
		}
	})
	runWithLedger(t, dir, clerk, func(g *Gate) {
		if s := g.Status(); s.Held != 7 {
			t.Errorf("%d permits held after a restart, want the 7 used", s.Held)
		}
	})
}

func TestACrashLosesABlockAtMost(t *testing.T) {
	dir, crashed := t.TempDir(), t.TempDir()
	clerk := &fakeClerk{}
	const used = 7
	runWithLedger(t, dir, clerk, func(g *Gate) {
		for range used {
			if _, err := g.List(t.Context(), clerkapi.ListParams{}, Options{}); err != nil {
				t.Fatal(err)
			}
		}
		// What a crash would leave: the file as it is now.
		text, err := os.ReadFile(filepath.Join(dir, ledgerFile))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(crashed, ledgerFile), text, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	runWithLedger(t, crashed, clerk, func(g *Gate) {
		if s := g.Status(); s.Held < used || s.Held > used+2*g.ledger.block {
			t.Errorf("%d permits held after a crash, want the %d used and at most two blocks of %d", s.Held, used, g.ledger.block)
		}
	})
}

func TestALedgerServesOneServer(t *testing.T) {
	dir := t.TempDir()
	d, err := OpenLedger(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLedger(dir); err == nil {
		t.Error("a second server opened the ledger")
	}
	if err := d.lock.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ledgerFile), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLedger(dir); err == nil {
		t.Error("rubbish was taken for a ledger")
	}
	if _, err := OpenLedger(filepath.Join(dir, "missing")); err == nil {
		t.Error("a missing directory was taken for one")
	}
}

func TestALedgerThatCannotBeWrittenStopsNobody(t *testing.T) {
	dir := t.TempDir()
	d, err := OpenLedger(dir)
	if err != nil {
		t.Fatal(err)
	}
	d.path = filepath.Join(dir, "gone", ledgerFile)
	runGate(t, d, &fakeClerk{}, func(g *Gate) {
		for range 20 {
			if _, err := g.List(t.Context(), clerkapi.ListParams{}, Options{}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
