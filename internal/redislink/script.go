package redislink

import (
	"context"
	"crypto/sha1" //nolint:gosec // Redis names scripts by their SHA-1
	"encoding/hex"

	"github.com/redis/rueidis"
)

// Script is a Lua script that runs for many keys in one round trip, without another one to
// load it first. (rueidis's ExecMulti loads it each time.)
type Script struct {
	text string
	sha  string
}

// NewScript returns a Script with the given text.
func NewScript(text string) Script {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // Redis names scripts by their SHA-1
	return Script{text: text, sha: hex.EncodeToString(sum[:])}
}

// ScriptCall is one run of a script.
type ScriptCall struct {
	Key  string
	Args []string
}

// Run runs the script for each call and returns the results.
func (s Script) Run(ctx context.Context, c rueidis.Client, calls ...ScriptCall) []rueidis.RedisResult {
	commands := make(rueidis.Commands, len(calls))
	for i, call := range calls {
		commands[i] = c.B().Evalsha().Sha1(s.sha).Numkeys(1).Key(call.Key).Arg(call.Args...).Build()
	}
	results := c.DoMulti(ctx, commands...)
	var unknown []int // calls for which Redis did not know the script
	for i, r := range results {
		if reply, ok := rueidis.IsRedisErr(r.Error()); ok && reply.IsNoScript() {
			unknown = append(unknown, i)
		}
	}
	if len(unknown) == 0 {
		return results
	}
	commands = commands[:0]
	for _, i := range unknown {
		commands = append(commands, c.B().Eval().Script(s.text).Numkeys(1).Key(calls[i].Key).Arg(calls[i].Args...).Build())
	}
	for j, r := range c.DoMulti(ctx, commands...) {
		results[unknown[j]] = r
	}
	return results
}
