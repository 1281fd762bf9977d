//go:build !linux

package main

import (
	"errors"
	"os/exec"
	"time"
)

// endWithParent does nothing; there is no portable way.
func endWithParent(*exec.Cmd) {}

// cpuTime is supported on Linux only.
func cpuTime(int) (time.Duration, error) { return 0, errors.ErrUnsupported }

// freeze and thaw are supported on Linux only.
func (*process) freeze() error { return errors.ErrUnsupported }

func (*process) thaw() error { return errors.ErrUnsupported }

// memory and descriptors are supported on Linux only.
func memory(int) (int64, error) { return 0, errors.ErrUnsupported }

func descriptors(int) (int, error) { return 0, errors.ErrUnsupported }
