package main

import (
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/page"
	"github.com/clerkgate/clerkgate/internal/words"
)

// setting is a setting as it is in effect. No part of it holds a secret.
type setting struct {
	Name  string `json:"name"`
	Value string `json:"value"` // empty: none
	From  string `json:"from"`  // flag, $VARIABLE, a file and its line, or default
}

// settingsFlags returns the flags of the command that runs, serve or config check,
// that are settings of serve.
func settingsFlags(parsed *kong.Context) []*kong.Flag {
	known := map[string]bool{configFlag: true}
	for _, f := range serveFlags(parsed.Model.Node) {
		known[f.Name] = true
	}
	return slices.DeleteFunc(slices.Clone(parsed.Selected().Flags), func(f *kong.Flag) bool { return !known[f.Name] })
}

// logSettings logs the settings that are not the defaults, and the warnings.
func (c *serveCmd) logSettings(logger *slog.Logger, o *origins, flags []*kong.Flag, s settings) {
	for _, one := range c.effective(o, flags, s) {
		if !strings.HasPrefix(one.From, "default") {
			logger.Info("setting", "name", one.Name, "value", one.Value, "from", one.From)
		}
	}
	for _, text := range c.warnings(o, flags, s) {
		logger.Warn("unsafe or unused setting", "setting", text)
	}
}

// effective returns all settings of serve, in the order of its flags, and then the
// secrets, of which it only reports whether there are any.
func (c *serveCmd) effective(o *origins, flags []*kong.Flag, s settings) []setting {
	var all []setting
	for _, f := range flags {
		from := o.of(f.Name)
		one := setting{Name: f.Name, Value: shown(f), From: from.String()}
		if value, why := c.derived(f.Name, s); from.place == fromDefault && why != "" {
			one.Value, one.From = value, "default, "+why
		}
		all = append(all, one)
	}
	key := setting{Name: "(secret key)", Value: "set, of a " + s.key().Instance() + " instance", From: "$" + secretKeyEnv}
	switch {
	case c.Sim:
		key.From = "default, by --sim"
	case c.ClerkSecretKeyFile != "":
		key.From = c.ClerkSecretKeyFile
	}
	all = append(all, key)
	secret := setting{Name: "(webhook secret)", From: "default"}
	switch {
	case s.secret == nil:
	case c.WebhookSecretFile != "":
		secret.Value, secret.From = "set", c.WebhookSecretFile
	case os.Getenv(webhookSecretEnv) != "":
		secret.Value, secret.From = "set", "$"+webhookSecretEnv
	default:
		secret.Value, secret.From = "set", "default, by --sim"
	}
	return append(all, secret)
}

// pageSettings returns settings as the page shows them.
func pageSettings(all []setting) []page.Setting {
	shown := make([]page.Setting, len(all))
	for i, one := range all {
		shown[i] = page.Setting(one)
	}
	return shown
}

// keyPlace describes where to put the secret key.
func (c *serveCmd) keyPlace() string {
	switch {
	case c.Sim:
		return ""
	case c.ClerkSecretKeyFile != "":
		return oneLine(c.ClerkSecretKeyFile)
	}
	return secretKeyEnv + ", and restart the server"
}

// derived returns the value in effect of a flag that was not given but follows from other
// settings, and those settings; else two empty strings.
func (c *serveCmd) derived(flag string, s settings) (value, why string) {
	byKey := "by the key"
	if c.Sim {
		byKey = "by --sim"
	}
	switch {
	case flag == "quota":
		return fmt.Sprintf("%d/%s", s.quota.Limit, words.Setting(s.quota.Window)), byKey
	case flag == "instance":
		return s.cache.RedisInstance, byKey
	case flag == "full-view" && c.Sim:
		return "any", "by --sim"
	case flag == "full-view":
		return "none", "as --sim is off"
	case flag == "first-window" && c.Sim:
		return "full", "by --sim"
	case flag == "burst" && s.quota.Burst > 0:
		return fmt.Sprint(s.quota.Burst), "by --quota"
	case flag == "stale-if-error" && c.StaleIfError < c.CacheTTL:
		return words.Setting(c.CacheTTL), "by --cache-ttl"
	}
	return "", ""
}

// shown returns a flag's value as it may be shown.
func shown(f *kong.Flag) string {
	v := f.Target.Interface()
	if d, ok := v.(time.Duration); ok {
		return words.Setting(d)
	}
	if f.Target.Kind() == reflect.String {
		return clerkapi.Redact(withoutPassword(f.Target.String()))
	}
	return strings.ToLower(fmt.Sprint(v))
}

// withoutPassword returns a URL without its user and password, and any other text as it is.
func withoutPassword(text string) string {
	if !strings.Contains(text, "://") && !strings.Contains(text, "@") {
		return text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Opaque != "":
		return "[not shown: not a valid URL]"
	case u.User != nil:
		u.User = url.User("***")
	}
	return strings.ReplaceAll(u.String(), "%2A%2A%2A@", "***@")
}
