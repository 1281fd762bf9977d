package deploy_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller/callertest"
	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

// TestDashboardHasData runs each query of the dashboard, and each rule, on a Prometheus that
// scrapes two replicas under load.
func TestDashboardHasData(t *testing.T) {
	clerk, replicas, scraped := startReplicas(t)
	prometheus := startPrometheus(t, scraped)
	stop := startLoad(t, clerk, replicas)
	defer stop()

	values := strings.NewReplacer("$job", "clerkgate", "$instance", ".*", "$__rate_interval", "10s")
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			what := fmt.Sprintf("%s, %s: %s", p.Title, target.RefID, target.Expr)
			eventually(t, what, func() error { return prometheus.hasData(values.Replace(target.Expr)) })
		}
	}
	for _, r := range rules(t) {
		for _, s := range selectors(r.Expr) {
			eventually(t, r.Alert+r.Record+": "+s, func() error { return prometheus.hasData(s) })
		}
		if r.Record != "" {
			eventually(t, r.Record, func() error { return prometheus.hasData(r.Record) })
			continue
		}
		if _, err := prometheus.query(r.Expr); err != nil {
			t.Errorf("%s: %v", r.Alert, err)
		}
		if err := prometheus.hasData(fmt.Sprintf("ALERTS{alertname=%q, alertstate='firing'}", r.Alert)); err == nil {
			t.Errorf("%s fires though all is well", r.Alert)
		}
	}
}

// selectors returns what an expression selects of clerkgate's metrics, each alternative of a label
// by itself: a name or a value that does not exist would keep an alert silent for ever.
func selectors(expr string) (all []string) {
	for _, s := range regexp.MustCompile(`\bclerkgate_\w+(\{[^}]*\})?`).FindAllString(strings.NewReplacer("job:clerkgate_", "", "instance:clerkgate_", "").Replace(expr), -1) {
		values := regexp.MustCompile(`=~"([^"]*)"`).FindStringSubmatchIndex(s)
		if values == nil {
			all = append(all, s)
			continue
		}
		for value := range strings.SplitSeq(s[values[2]:values[3]], "|") {
			all = append(all, s[:values[0]]+`="`+value+`"`+s[values[1]:])
		}
	}
	return all
}

// startReplicas starts a simulated Clerk and two replicas, the first with webhooks and TLS. It returns the URL of the simulator,
// connections to the replicas, and the addresses with metrics.
func startReplicas(t *testing.T) (clerk string, replicas []*grpc.ClientConn, scraped []string) {
	t.Helper()
	const quota = "1000/10s"
	redis, dir := redistest.Start(t), t.TempDir()
	secret := func(name, value string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, signing := secret("key", "sk_test_simulated"), "whsec_c2ltdWxhdGVkIHdlYmhvb2sgc2VjcmV0"
	hook := secret("hook", signing)
	ports := freePorts(t, 6)
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	clerk = "http://" + at(0)
	// The simulator takes the secret from its environment only.
	start(t, "env", "CLERK_WEBHOOK_SIGNING_SECRET="+signing, binary, "sim", "--listen", at(0), "--users", "2000", "--quota", quota, "--webhook-url", "http://"+at(1)+"/webhooks/clerk")
	isReady(t, http.DefaultClient, clerk+"/sim/stats")
	ca := callertest.NewCA(t)
	cert, certKey := ca.Issue("127.0.0.1").Files(t, dir, "server")
	for i := range 2 {
		args := []string{"serve", "--clerk-api-url", clerk, "--clerk-secret-key-file", key, "--redis-url", redis.URL(), "--quota", quota,
			"--grpc-listen", at(2 + 2*i), "--http-listen", at(3 + 2*i), "--drain-delay", "0s"}
		transport := insecure.NewCredentials()
		if i == 0 {
			args = append(args, "--webhook-listen", at(1), "--webhook-secret-file", hook,
				"--tls-cert-file", cert, "--tls-key-file", certKey, "--http-tls-cert-file", "off", "--webhook-tls-cert-file", "off")
			transport = credentials.NewTLS(&tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12})
		}
		start(t, binary, args...)
		scraped = append(scraped, at(3+2*i))
		conn, err := grpc.NewClient(at(2+2*i), grpc.WithTransportCredentials(transport))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		replicas = append(replicas, conn)
	}
	for _, address := range scraped {
		isReady(t, http.DefaultClient, "http://"+address+"/readyz")
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return clerk, replicas, scraped
}

// startLoad calls in every way that a panel shows, about two hundred times a second, until stop
// is called.
func startLoad(t *testing.T, clerk string, replicas []*grpc.ClientConn) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ids := caller{users: clerkgatev1.NewUserServiceClient(replicas[0])}.ids(t)
	var wg sync.WaitGroup
	for i, conn := range replicas {
		users := clerkgatev1.NewUserServiceClient(conn)
		for worker := range 8 {
			pairs := []string{"clerkgate-caller", fmt.Sprintf("service-%d", worker)}
			if worker%4 == 3 {
				pairs = append(pairs, "clerkgate-priority", "batch")
			}
			ctx := metadata.AppendToOutgoingContext(ctx, pairs...)
			wg.Go(func() {
				for n := worker * 17; ctx.Err() == nil; n++ {
					// Failures are part of the load: what the panels show is what is tested.
					id := ids[(n*8+i)%len(ids)]
					_, _ = users.GetUser(ctx, &clerkgatev1.GetUserRequest{UserId: id, MaxAge: durationpb.New(0)})
					_, _ = users.GetUser(ctx, &clerkgatev1.GetUserRequest{UserId: id})
					_, _ = users.GetUser(ctx, &clerkgatev1.GetUserRequest{UserId: "not-an-id"})
					if worker == 0 {
						_, _ = users.BatchGetUsers(ctx, &clerkgatev1.BatchGetUsersRequest{UserIds: ids[:10]})
						_, _ = users.CountUsers(ctx, &clerkgatev1.CountUsersRequest{})
						_, _ = users.ListUsers(ctx, &clerkgatev1.ListUsersRequest{PageSize: 10})
						changeUser(ctx, clerk, id)
					}
					time.Sleep(200 * time.Millisecond) // far less than the quota allows: each kind of call goes on
				}
			})
		}
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// changeUser has the simulator send a webhook.
func changeUser(ctx context.Context, clerk, id string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, clerk+"/sim/users/"+id, strings.NewReader(`{"first_name":"Ada"}`))
	if err != nil {
		return
	}
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
	}
}

// prometheusServer is a Prometheus with the rules.
type prometheusServer struct{ url string }

// startPrometheus starts a Prometheus that scrapes targets every second.
func startPrometheus(t *testing.T, targets []string) prometheusServer {
	t.Helper()
	rules, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config, err := json.Marshal(map[string]any{ // which is YAML, too
		"global":     map[string]any{"scrape_interval": "1s", "evaluation_interval": "1s"},
		"rule_files": []string{rules},
		"scrape_configs": []any{map[string]any{
			"job_name": "clerkgate", "static_configs": []any{map[string]any{"targets": targets}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1)[0])
	start(t, "prometheus", "--config.file", path, "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", address)
	isReady(t, http.DefaultClient, "http://"+address+"/-/ready")
	return prometheusServer{"http://" + address}
}

// query returns the values of an instant query.
func (p prometheusServer) query(expr string) (values []string, err error) {
	resp, err := http.Get(p.url + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  struct{ Result []struct{ Value [2]any } }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("prometheus: %s", answer.Error)
	}
	for _, r := range answer.Data.Result {
		values = append(values, fmt.Sprint(r.Value[1]))
	}
	return values, nil
}

// hasData returns an error unless a query has values, all of them numbers.
func (p prometheusServer) hasData(expr string) error {
	values, err := p.query(expr)
	if err != nil {
		return err
	}
	for _, v := range values {
		if v == "NaN" || strings.HasSuffix(v, "Inf") {
			return fmt.Errorf("a value is %s", v)
		}
	}
	if len(values) == 0 {
		return errors.New("no data")
	}
	return nil
}
