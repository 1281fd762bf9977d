//go:build !linux

package main

import (
	"errors"
	"os/exec"
	"time"
)

// endWithParent does nothing: there is no portable way.
func endWithParent(*exec.Cmd) {}

// cpuTime is known on Linux alone.
func cpuTime(int) (time.Duration, error) { return 0, errors.ErrUnsupported }

// freeze and thaw are there on Linux alone.
func (*process) freeze() error { return errors.ErrUnsupported }

func (*process) thaw() error { return errors.ErrUnsupported }

// memory and descriptors are known on Linux alone.
func memory(int) (int64, error) { return 0, errors.ErrUnsupported }

func descriptors(int) (int, error) { return 0, errors.ErrUnsupported }
