package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/redislink"
	"github.com/clerkgate/clerkgate/internal/webhook"
)

// secretFiles are the files of secrets that are read again while the server runs. Those
// that are not configured are nil.
type secretFiles struct {
	key   *clerkapi.KeyFile
	redis *redislink.URLFile
}

// keyErr returns the error that keeps the key in its file from being used.
func (f secretFiles) keyErr() error {
	if f.key == nil {
		return nil
	}
	return f.key.Err()
}

// notes returns the faults of the files, one line each.
func (f secretFiles) notes() []string {
	var notes []string
	if err := f.keyErr(); err != nil {
		notes = append(notes, "the secret key's file can't be used, and the last key stays in use: "+oneLine(err.Error()))
	}
	if f.redis != nil {
		if err := f.redis.Err(); err != nil {
			notes = append(notes, "the Redis URL's file can't be used, and the last URL stays in use: "+oneLine(err.Error()))
		}
	}
	return notes
}

// reloader reads settings again at SIGHUP.
type reloader struct {
	logger  *slog.Logger
	level   *slog.LevelVar
	files   secretFiles
	secret  func() string // of webhooks; nil: none are taken
	server  interface{ Reload() error }
	origins *origins
	running []setting // in effect
}

// run reloads at each signal until ctx ends.
func (r *reloader) run(ctx context.Context, signals <-chan os.Signal) error {
	for {
		select {
		case <-signals:
			r.reload()
		case <-ctx.Done():
			return nil
		}
	}
}

// reload reads the files of secrets and the configuration file. What can't be used
// is logged, and changes nothing.
func (r *reloader) reload() {
	var fails []error
	if r.files.key != nil {
		fails = append(fails, r.files.key.Reload())
	}
	if r.files.redis != nil {
		fails = append(fails, r.files.redis.Reload())
	}
	if r.secret != nil { // it is read for each event anyway
		if err := webhook.CheckSecret(r.secret()); err != nil {
			r.logger.Error("the webhook signing secret can't be used", "error", err)
			fails = append(fails, err)
		}
	}
	fails = append(fails, r.server.Reload(), r.settings())
	r.logger.Info("SIGHUP: settings that can change without a restart were read again", "ok", errors.Join(fails...) == nil)
}

// settings parses the command line, the environment and the file again, applies the log
// level, and logs all other changes.
func (r *reloader) settings() error {
	var c cli
	o := &origins{args: r.origins.args}
	parser, err := o.newParser(&c, kong.Name("clerkgate"), kong.Exit(func(int) {}), kong.Writers(io.Discard, io.Discard))
	var parsed *kong.Context
	if err == nil {
		parsed, err = parser.Parse(o.args)
	}
	var s settings
	if err == nil {
		s, err = c.Serve.settings(slog.New(slog.DiscardHandler))
	}
	if err != nil {
		r.logger.Error("the settings can't be read again: the last ones stay in effect", "error", o.explain(err.Error()))
		return err
	}
	r.level.Set(slog.Level(c.Serve.LogLevel))
	now := c.Serve.effective(o, settingsFlags(parsed), s)
	for _, one := range now {
		if one.Name == "log-level" || strings.HasPrefix(one.Name, "(") {
			continue
		}
		i := slices.IndexFunc(r.running, func(old setting) bool { return old.Name == one.Name })
		if i >= 0 && r.running[i].Value != one.Value {
			r.logger.Warn("a changed setting takes effect after a restart",
				"name", one.Name, "in_effect", r.running[i].Value, "changed_to", one.Value, "from", one.From)
		}
	}
	return nil
}
