package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	svix "github.com/svix/svix-webhooks/go"

	"github.com/clerkgate/clerkgate/client"
	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/caller/callertest"
	"github.com/clerkgate/clerkgate/internal/leaktest"
	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

// redisRun is two replicas that share a Redis, and what is needed to call them.
type redisRun struct {
	t       *testing.T
	ca      *callertest.CA
	dir     string
	cert    string // of a caller
	key     string
	secrets map[string]string // by what they are
	token   string
	jwt     string
	address [2]string
	hook    string // URL of the first replica's webhook listener
	id      string // of a user
}

// startRedisRun starts the replicas. Callers show tokens, JSON Web Tokens or certificates.
func startRedisRun(t *testing.T, redisURL string, args ...string) *redisRun {
	t.Helper()
	r := &redisRun{t: t, ca: callertest.NewCA(t), dir: t.TempDir(), token: caller.NewToken()}
	issuer := callertest.NewIssuer(t)
	r.jwt = issuer.Token("clerkgate", "sync", nil)
	const allow = "{methods: [GetUser, BatchGetUsers, ListUsers, StreamUsers, CountUsers, GetQuota, GetUsage], full_view: [private_metadata, memberships, verifications, extra], permits: true, invalidate: true, max_requests: 90/10s, guaranteed: 10%}"
	callers := filepath.Join(r.dir, "callers.yaml")
	text := fmt.Sprintf("issuers: [{name: a, issuer: %q, audience: clerkgate}]\ncallers:\n  - %s\n", issuer.URL, leaktest.Viewer())
	for name, identity := range map[string]string{
		"one": "tokens: [{sha256: " + caller.HashToken(r.token) + "}]", "two": "jwt: [{issuer: a, claims: {sub: sync}}]", "three": "certificates: [dns:billing.example]",
	} {
		text += fmt.Sprintf("  - {name: %s, identity: {%s}, allow: %s}\n", name, identity, allow)
	}
	if err := os.WriteFile(callers, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	pair := r.ca.Issue("127.0.0.1")
	cert, key := pair.Files(t, r.dir, "server")
	r.cert, r.key = r.ca.Issue("billing.example").Files(t, r.dir, "client")
	t.Setenv(webhookSecretEnv, webhookSecret)
	t.Setenv("CLERKGATE_REDIS_URL", redisURL)
	for i := range r.address {
		var log *output
		r.address[i], r.id, log = serveSim(t, append([]string{
			"--callers-file", callers, "--tls-cert-file", cert, "--tls-key-file", key, "--client-ca-file", r.ca.File(r.dir, "ca.crt"),
			"--webhook-listen", "127.0.0.1:0", "--webhook-tls-cert-file", "off", "--sim-webhook-url", "http://127.0.0.1:1/webhooks/clerk",
		}, args...)...)
		if i == 0 {
			at := regexp.MustCompile(` webhooks=(\S+)`).FindStringSubmatch(log.String())
			if at == nil {
				t.Fatalf("no webhook listener in the log:\n%s", log)
			}
			r.hook = "http://" + at[1]
		}
	}
	r.secrets = map[string]string{
		"a token": r.token, "its hash": caller.HashToken(r.token), "a JSON Web Token": r.jwt, "the signature of one": r.jwt[strings.LastIndex(r.jwt, ".")+1:],
		"the webhook secret": webhookSecret, "the webhook secret without its prefix": strings.TrimPrefix(webhookSecret, "whsec_"),
		"Clerk's key": simulatedKey, "a key shown as a name": "sk_live_shownasaname",
		"the private key": strings.TrimSpace(strings.Split(string(pair.Key), "\n")[1]),
	}
	return r
}

// connect returns a client of a replica with a token, or with the certificate if it is "".
func (r *redisRun) connect(replica int, token string) *client.Client {
	r.t.Helper()
	cert, key := r.cert, r.key
	var show func(context.Context) (string, error)
	if token != "" {
		cert, key, show = "", "", client.StaticToken(token)
	}
	config, err := client.LoadTLS(r.ca.File(r.dir, "ca.crt"), cert, key)
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := client.New(client.Config{Address: "https://" + r.address[replica], TLS: config, Token: show, Timeout: time.Minute, DialOptions: leaktest.DialOptions()})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

// use makes each replica do all that it can write to Redis, and returns the user of r.id.
func (r *redisRun) use() *client.User {
	t := r.t
	t.Helper()
	headers := []string{"Bearer " + r.token, "Bearer " + r.jwt, "Bearer sk_live_shownasaname"}
	called(t, &shownTo{}, r.address[0], r.id, r.ca, headers)
	var user *client.User
	for replica := range r.address {
		for _, token := range []string{r.token, r.jwt, ""} {
			c := r.connect(replica, token)
			got, err := c.GetUser(t.Context(), r.id, client.Full())
			if err != nil {
				t.Fatal(err)
			}
			user = got
			if _, err := c.BatchGetUsers(t.Context(), []string{r.id, "user_nobody"}); err != nil {
				t.Error(err)
			}
			if err := c.InvalidateUsers(t.Context(), r.id); err != nil {
				t.Error(err)
			}
			if err := c.WithPermits(t.Context(), 1, 0, func(context.Context, *client.Lease) error { return nil }); err != nil {
				t.Error(err)
			}
			if got, err := c.GetUser(t.Context(), r.id, client.Full()); err != nil || got.PrivateMetadataJson == nil {
				t.Errorf("%v, %v", got, err)
			}
		}
	}
	for _, id := range []string{"msg_1", "msg_1"} {
		r.event(id, fmt.Sprintf(`{"type":"user.deleted","object":"event","data":{"id":"user_gone","deleted":true,"object":"user"},"timestamp":%d}`, time.Now().UnixMilli()))
	}
	return user
}

// event sends a signed event to the first replica.
func (r *redisRun) event(id, body string) {
	r.t.Helper()
	signer, err := svix.NewWebhook(webhookSecret)
	if err != nil {
		r.t.Fatal(err)
	}
	now := time.Now()
	signature, err := signer.Sign(id, now, []byte(body))
	if err != nil {
		r.t.Fatal(err)
	}
	r.secrets["a webhook's signature"] = strings.TrimPrefix(signature, "v1,")
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.hook, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("svix-id", id)
	req.Header.Set("svix-timestamp", strconv.FormatInt(now.Unix(), 10))
	req.Header.Set("svix-signature", signature)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		r.t.Errorf("an event: %s", resp.Status)
	}
}

// TestNoSecretIsInRedis looks for every secret in all that two replicas send to Redis: what
// they store, names of keys, what they publish, and scripts.
func TestNoSecretIsInRedis(t *testing.T) {
	for name, encrypted := range map[string]bool{"in clear": false, "encrypted": true} {
		t.Run(name, func(t *testing.T) {
			password := leaktest.Secret("Redis's password", "redispassword1")
			redis := redistest.Start(t, "--requirepass", password)
			received := redis.Monitor(password)
			var args []string
			cacheKey := leaktest.Secret("the cache's key", base64.StdEncoding.EncodeToString([]byte("a cache's key of 32 bytes: 1 2 3")))
			if encrypted {
				file := filepath.Join(t.TempDir(), "cache.keys")
				if err := os.WriteFile(file, []byte("k1 "+cacheKey+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				args = []string{"--cache-encryption-key-file", file}
			}
			r := startRedisRun(t, "redis://:"+password+"@"+redis.Addr(), args...)
			r.secrets["Redis's password"], r.secrets["the cache's key"] = password, cacheKey
			r.secrets["the bytes of the cache's key"] = "a cache's key of 32 bytes"
			user := r.use()
			all := received()
			for what, part := range map[string]string{
				"the user's id": r.id, "an event": "msg_1", "a message to the other replica": "PUBLISH", "the shared quota": ":quota1",
			} {
				if !strings.Contains(strings.ToUpper(all), strings.ToUpper(part)) {
					t.Errorf("Redis received nothing of %s (%s)", what, part)
				}
			}
			for what, secret := range r.secrets {
				if at := strings.Index(all, secret); at >= 0 {
					t.Errorf("Redis received %s: …%.300q…", what, all[max(0, at-100):])
				}
			}
			private := regexp.MustCompile(`cus_\w{10,}`).FindString(user.GetPrivateMetadataJson())
			if private == "" {
				t.Fatalf("no billing id in the private metadata %s", user.GetPrivateMetadataJson())
			}
			if strings.Contains(all, private) {
				t.Errorf("Redis received private metadata: %s", private)
			}
			email := user.EmailAddresses[0].EmailAddress
			if got := strings.Contains(all, email); got == encrypted {
				t.Errorf("Redis received the email address %s in clear: %t", email, got)
			}
		})
	}
}
