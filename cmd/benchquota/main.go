// Command benchquota measures how well clerkgate uses the quota of a Clerk key.
// It runs the server and the simulated Clerk as processes of their own, puts load
// on them, and prints a table with what a client without clerkgate gets beside it.
// With -replicas it runs several servers and the redis-server that they share, and
// with -floods it measures what a server takes under floods of calls and webhooks.
// With -chaos it judges what callers see while faults come and go.
// docs/performance.md says what each scenario means.
//
// It ends with 1 if a scenario has missed its target or could not be run, and
// with 2 if it was called wrongly. Whatever it has started ends with it.
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

// maxTime is how long everything may take.
const maxTime = 20 * time.Minute

// scenario is one thing to measure.
type scenario struct {
	name string
	// alone: it loads the CPU, and so nothing else may run at the same time.
	alone bool
	run   func(context.Context, *lab) ([]row, error)
}

// lab is what scenarios run with.
type lab struct {
	binary string // clerkgate
	seed   uint64 // of this scenario's simulator: people and the windows' phase
	// duration is how long chaos goes on.
	duration time.Duration
}

// scenarios returns those of one server, those of several with one Redis, or the
// floods, and how many of them may run at the same time: replicas give Redis little
// time to answer, and must not be kept from the CPU by too many others.
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

// run does what args say and gives the exit code.
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

// outcome is what came of a scenario.
type outcome struct {
	name string
	rows []row
	err  error
}

// measure runs the scenarios: first, side by side but no more than atOnce, those
// that hardly load the CPU, then each of the others alone. The outcomes are in the
// order given.
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
