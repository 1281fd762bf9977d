// Command benchquota measures how well clerkgate uses the quota of a Clerk key. It runs
// the server and the simulated Clerk as processes, loads them, and prints a table that
// also has the results of a client without clerkgate.
//
//	-replicas  measures several servers with a shared redis-server
//	-floods    measures the use of resources under floods of calls and webhooks
//	-chaos     checks invariants under load and faults
//
// docs/performance.md explains the scenarios.
//
// The exit code is 1 if a scenario has missed its target or could not be run, and 2 after
// invalid arguments. All processes end with it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"time"
)

// maxTime is the time limit of the whole run.
const maxTime = 20 * time.Minute

// scenario is one measurement.
type scenario struct {
	name string
	// alone means that it loads the CPU, so nothing else may run at the same time.
	alone bool
	run   func(context.Context, *lab) ([]row, error)
}

// lab is the environment of scenarios.
type lab struct {
	binary string // clerkgate
	seed   uint64 // seed of the simulator's users and of the windows' phase
	// duration is that of chaos.
	duration time.Duration
}

// scenarios returns the scenarios of one server, of several replicas, or the floods, and
// how many may run in parallel: replicas give Redis little time to answer and need the
// CPU.
func scenarios(replicas, floods bool) (all []scenario, atOnce int) {
	if floods {
		return floodScenarios(), 1
	}
	if replicas {
		return slices.Concat(sharedScenarios(), troubleScenarios(), []scenario{
			{"commands", false, redisCommands},
			{"fairness", true, fairness},
			{"priorities", true, priorities},
		}), 6
	}
	all = slices.Concat(saturatedScenarios(), othersScenarios(), naiveScenarios(), []scenario{
		{"burst10k", true, burst},
		{"production", true, production},
		{"flood", true, flood},
		{"behind-lists", true, behindLists},
	})
	return all, len(all)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run executes the command with args and returns the exit code.
func run(ctx context.Context, args []string, out, progress io.Writer) int {
	flags := flag.NewFlagSet("benchquota", flag.ContinueOnError)
	flags.SetOutput(progress)
	pick := flags.String("run", ".", "the scenarios to run, a `regexp`")
	replicas := flags.Bool("replicas", false, "measure several servers that share a quota through redis-server")
	chaos := flags.Bool("chaos", false, "judge servers under load while faults come and go")
	duration := flags.Duration("duration", time.Minute, "how long faults come and go, with -chaos, in all")
	floods := flags.Bool("floods", false, "measure memory, goroutines and descriptors under floods")
	list := flags.Bool("list", false, "list the scenarios and end")
	binary := flags.String("clerkgate", "bin/clerkgate", "the `program` to measure")
	seed := flags.Uint64("seed", uint64(time.Now().UnixNano()%1e6), "where chance begins, such as the phase of windows")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	wanted, err := regexp.Compile(*pick)
	if err != nil {
		fmt.Fprintf(progress, "-run: %v\n", err)
		return 2
	}
	var picked []scenario
	all, atOnce := scenarios(*replicas, *floods)
	if *chaos {
		all, atOnce = chaosScenarios(), 1
	}
	for _, s := range all {
		if wanted.MatchString(s.name) {
			picked = append(picked, s)
		}
	}
	if len(picked) == 0 {
		fmt.Fprintf(progress, "-run: there is no scenario like %q\n", *pick)
		return 2
	}
	if *list {
		for _, s := range picked {
			fmt.Fprintln(out, s.name)
		}
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	start := time.Now()
	outcomes := measure(ctx, picked, atOnce, lab{binary: *binary, seed: *seed, duration: *duration / time.Duration(len(picked))}, progress)
	met := printTable(out, outcomes)
	fmt.Fprintf(out, "\nseed %d, %s in all\n", *seed, time.Since(start).Round(time.Second))
	if !met {
		return 1
	}
	return 0
}

// outcome is the result of a scenario.
type outcome struct {
	name string
	rows []row
	err  error
}

// measure runs the scenarios: first, at most atOnce in parallel, those that hardly load
// the CPU, then the others one by one. The outcomes are in the given order.
func measure(ctx context.Context, picked []scenario, atOnce int, with lab, progress io.Writer) []outcome {
	outcomes := make([]outcome, len(picked))
	var mu sync.Mutex // of progress
	do := func(i int) {
		s := picked[i]
		rows, err := s.run(ctx, &lab{binary: with.binary, seed: with.seed + uint64(i), duration: with.duration})
		outcomes[i] = outcome{s.name, rows, err}
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(progress, "%s done\n", s.name)
	}
	var wg sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for i, s := range picked {
		if !s.alone {
			places <- struct{}{}
			wg.Go(func() {
				do(i)
				<-places
			})
		}
	}
	wg.Wait()
	for i, s := range picked {
		if s.alone {
			do(i)
		}
	}
	return outcomes
}
