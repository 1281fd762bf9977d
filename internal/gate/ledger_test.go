package gate

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/quota/statefile"
)

// runWithLedger runs a gate on the state file in dir while f runs.
func runWithLedger(t *testing.T, dir string, clerk *fakeClerk, f func(*Gate)) {
	t.Helper()
	d, err := statefile.Open(dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	runGate(t, d, clerk, f)
}

func runGate(t *testing.T, d *statefile.File, clerk *fakeClerk, f func(*Gate)) {
	t.Helper()
	g := New(Config{Upstream: clerk, StateFile: d, Quota: quota.Config{Limit: 40, Window: time.Hour}})
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
		// A crash would leave the file as it is now.
		text, err := os.ReadFile(filepath.Join(dir, statefile.Name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(crashed, statefile.Name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	runWithLedger(t, crashed, clerk, func(g *Gate) {
		if s := g.Status(); s.Held < used || s.Held > used+2*g.ledger.block {
			t.Errorf("%d permits held after a crash, want the %d used and at most two blocks of %d", s.Held, used, g.ledger.block)
		}
	})
}

// TestAStateFileThatDoesNotTellAll: the file may lack some of what was spent. The first
// window is then as configured, and one log line has the reason.
func TestAStateFileThatDoesNotTellAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		state := func(instance string, cfg quota.Config, age time.Duration) string {
			dir := t.TempDir()
			f, err := statefile.Open(dir, instance)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := f.Write(quota.New(cfg, now.Add(-age)).Save(now.Add(-age), 0)); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(f.Path())
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		cfg := quota.Config{Limit: 40, Window: time.Minute, FirstWindow: quota.WaitWindow}
		full := cfg
		full.FirstWindow = quota.FullWindow
		other := full
		other.Limit = 41
		for _, tt := range []struct {
			name, text string
			want       string // part of the line; empty: none
		}{
			{"of a moment ago", state("test", full, time.Second), ""},
			{"of a window ago", state("test", full, time.Minute), ""},
			{"of longer ago", state("test", full, time.Minute+time.Second), "longer than a window"},
			{"of the future", state("test", full, -time.Hour), "in the future"},
			{"of another quota", state("test", other, time.Second), "another quota, 41 requests per 1m0s"},
			{"of another instance", state("live", full, time.Second), "another instance, \\\"live\\\""},
			{"corrupt", "{\"version\":2,\"at\":", "unexpected end"},
			{"empty", "", "unexpected end"},
			{"of an earlier version", `{"version":1}`, "version 1, want 2"},
		} {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, statefile.Name), []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			d, err := statefile.Open(dir, "test")
			if err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			l := newLedger(d, cfg, now, slog.New(slog.NewTextHandler(&log, nil))).limiter
			_ = d.Close()
			lines, held := 0, 0
			if tt.want != "" {
				lines, held = 1, cfg.Limit
			}
			if strings.Count(log.String(), "\n") != lines || !strings.Contains(log.String(), tt.want) {
				t.Errorf("%s: logged %s", tt.name, log.String())
			}
			if got := l.State(now).Held; got != held {
				t.Errorf("%s: %d permits held, want %d", tt.name, got, held)
			}
		}
	})
}

func TestALedgerThatCannotBeWrittenStopsNobody(t *testing.T) {
	dir := t.TempDir()
	d, err := statefile.Open(dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	runGate(t, d, &fakeClerk{}, func(g *Gate) {
		for range 20 {
			if _, err := g.List(t.Context(), clerkapi.ListParams{}, Options{}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
