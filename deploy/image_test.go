//go:build image

package deploy_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller/callertest"
	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

// The image that `make image` has built is started here as the chart says: with the
// rendered arguments, environment and settings, on the image's own files, read-only, as
// the image's user. Only the network is this machine's.

// image is the image's files, and what its configuration says.
type image struct{ root, user, entrypoint string }

func unpack(t *testing.T) image {
	t.Helper()
	container := buildah(t, "from", "oci-archive:../bin/image.tar")
	t.Cleanup(func() { _ = exec.Command("buildah", "--storage-driver", "vfs", "rm", container).Run() })
	return image{
		root:       buildah(t, "mount", container),
		user:       buildah(t, "inspect", "--format", "{{.OCIv1.Config.User}}", container),
		entrypoint: buildah(t, "inspect", "--format", "{{range .OCIv1.Config.Entrypoint}}{{.}} {{end}}", container),
	}
}

func buildah(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("buildah", append([]string{"--storage-driver", "vfs"}, args...)...).Output()
	if err != nil {
		t.Fatalf("buildah %s: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

// pod is what the chart's Deployment and ConfigMap say of the one container.
type pod struct {
	args     []string
	env      []string
	ready    string // path of the readiness probe
	scheme   string
	settings map[string]string
}

// render renders the chart with values, as `helm template` does.
func render(t *testing.T, values any) pod {
	t.Helper()
	text, err := yaml.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	helm := exec.Command("go", "tool", "helm", "template", "clerkgate", "../../deploy/chart/clerkgate", "-f", file)
	helm.Dir, helm.Stderr = "../tools/chart", os.Stderr
	out, err := helm.Output()
	if err != nil {
		t.Fatal(err)
	}
	var p pod
	for document := range strings.SplitSeq(string(out), "\n---") {
		var object struct {
			Kind string            `yaml:"kind"`
			Data map[string]string `yaml:"data"`
			Spec struct {
				Template struct {
					Spec struct {
						Containers []struct {
							Args           []string `yaml:"args"`
							Env            []struct{ Name, Value string }
							ReadinessProbe struct {
								HTTPGet struct{ Path, Scheme string } `yaml:"httpGet"`
							} `yaml:"readinessProbe"`
						} `yaml:"containers"`
					} `yaml:"spec"`
				} `yaml:"template"`
			} `yaml:"spec"`
		}
		if err := yaml.Unmarshal([]byte(document), &object); err != nil && !strings.Contains(document, "kind: Service\n") {
			t.Fatalf("%v in\n%s", err, document)
		}
		switch object.Kind {
		case "ConfigMap":
			p.settings = object.Data
		case "Deployment":
			c := object.Spec.Template.Spec.Containers[0]
			p.args, p.ready, p.scheme = c.Args, c.ReadinessProbe.HTTPGet.Path, c.ReadinessProbe.HTTPGet.Scheme
			for _, e := range c.Env {
				p.env = append(p.env, e.Name+"="+e.Value)
			}
		}
	}
	return p
}

// start starts the container with secrets, by their paths in /etc/clerkgate, and waits
// until the readiness probe succeeds on port.
func (i image) start(t *testing.T, p pod, secrets map[string]string, port int, client *http.Client) *process {
	t.Helper()
	etc := t.TempDir()
	for name, text := range p.settings {
		write(t, filepath.Join(etc, "config", name), text)
	}
	for name, text := range secrets {
		write(t, filepath.Join(etc, name), text)
	}
	if err := os.MkdirAll(filepath.Join(i.root, "etc/clerkgate"), 0o755); err != nil {
		t.Fatal(err)
	}
	server := start(t, "env", slices.Concat(p.env, i.command(etc, p.args...))...)
	isReady(t, client, fmt.Sprintf("%s://127.0.0.1:%d%s", strings.ToLower(p.scheme), port, p.ready))
	server.isConfined(t, i)
	return server
}

// command returns a command that becomes the image's entrypoint with args: on the image's
// files, read-only, with etc as /etc/clerkgate, as the image's user.
func (i image) command(etc string, args ...string) []string {
	const inside = `
		root=$1 user=$2 etc=$3
		shift 3
		mount --bind "$root" "$root"
		mount --bind "$etc" "$root/etc/clerkgate"
		mount -o remount,ro,bind "$root/etc/clerkgate"
		mount -o remount,ro,bind "$root"
		exec chroot --userspec="$user" "$root" "$@"`
	return slices.Concat([]string{"unshare", "--mount", "bash", "-euc", inside, "bash", i.root, i.user, etc}, strings.Fields(i.entrypoint), args)
}

// isConfined checks that the process has the image's user, no capability, and no file
// system that it could write to.
func (p *process) isConfined(t *testing.T, i image) {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	state := read(t, proc+"status")
	uid, _, _ := strings.Cut(i.user, ":")
	if uid == "0" || !strings.Contains(state, "\nUid:\t"+uid+"\t"+uid+"\t") || !strings.Contains(state, "\nCapEff:\t0000000000000000\n") {
		t.Errorf("the process has privileges:\n%s", state)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(read(t, proc+"mountinfo")), "\n") {
		// The fields are id, parent, device, root, mount point (as the process sees it), options.
		if f := strings.Fields(line); !strings.HasPrefix(f[5], "ro") {
			t.Errorf("the process may write below %s", f[4])
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

type m = map[string]any

// TestImage checks the files and the user of the image, and its command as a probe.
func TestImage(t *testing.T) {
	i, clerk := unpack(t), startClerk(t)
	var files []string
	err := fs.WalkDir(os.DirFS(i.root), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, name)
		}
		return err
	})
	if want := []string{"clerkgate", "etc/ssl/certs/ca-certificates.crt"}; err != nil || !slices.Equal(files, want) {
		t.Errorf("files %v, %v, want %v", files, err, want)
	}
	if i.user != "65532:65532" {
		t.Errorf("user %q", i.user)
	}
	ports := freePorts(t, 2)
	server := i.start(t, render(t, m{
		"ports": m{"grpc": ports[0], "http": ports[1]}, "allowUnauthenticated": true,
		"config": m{"clerk-api-url": clerk},
	}), map[string]string{"clerk/clerk-secret-key": "sk_test_animage"}, ports[1], http.DefaultClient)
	for _, tt := range []struct {
		args []string
		exit int
	}{{nil, 0}, {[]string{"--service", "clerk"}, 0}, {[]string{"--service", "none"}, 2}} {
		args := slices.Concat([]string{"health", "--address", fmt.Sprintf("127.0.0.1:%d", ports[0])}, tt.args)
		probe := i.command(t.TempDir(), args...)
		cmd := exec.Command(probe[0], probe[1:]...)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != tt.exit {
			t.Errorf("health %s: exit %d, want %d\n%s", tt.args, got, tt.exit, out)
		}
	}
	server.stop(t)
}

// TestImageWithEverything starts the image with TLS, callers and Redis. Each caller may do
// what the file says, and nothing else.
func TestImageWithEverything(t *testing.T) {
	i, clerk := unpack(t), startClerk(t)
	ca, issuer, redis := callertest.NewCA(t), callertest.NewIssuer(t), redistest.Start(t)
	const token = "cgt_oz8sBlX1jrA94WwXztZw19M3wNRnrSWRpamqXyR-aoU"
	allow := func(name string, identity m, methods ...string) m {
		return m{"name": name, "identity": identity, "allow": m{"methods": methods}}
	}
	ports := freePorts(t, 2)
	p := render(t, m{
		"ports": m{"grpc": ports[0], "http": ports[1]}, "redis": m{"secretName": "redis"},
		"tls": m{"secretName": "tls", "clientCAKey": "ca.crt"}, "cacheEncryption": m{"secretName": "cache"},
		"config": m{"clerk-api-url": clerk, "quota": "100000/10s", "first-window": "full"},
		"callers": m{
			"issuers": []m{{"name": "test", "issuer": issuer.URL, "audience": "clerkgate"}},
			"callers": []m{
				allow("certificate", m{"certificates": []string{"dns:billing.example"}}, "GetUser"),
				allow("token", m{"tokens": []m{{"sha256": fmt.Sprintf("%x", sha256.Sum256([]byte(token)))}}}, "ListUsers"),
				allow("jwt", m{"jwt": []m{{"issuer": "test", "claims": m{"sub": "job"}}}}, "CountUsers"),
			},
		},
	})
	serverCert := ca.Issue("127.0.0.1")
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}}}
	t.Cleanup(client.CloseIdleConnections)
	server := i.start(t, p, map[string]string{
		"clerk/clerk-secret-key": "sk_test_animage", "redis/redis-url": redis.URL(), "tls/ca.crt": read(t, ca.File(t.TempDir(), "ca.crt")),
		"tls/tls.crt": string(serverCert.Cert), "tls/tls.key": string(serverCert.Key),
		"cache-encryption/keys": "k1 " + base64.StdEncoding.EncodeToString(make([]byte, 32)),
	}, ports[1], client)

	dial := func(certificates ...tls.Certificate) clerkgatev1.UserServiceClient {
		conn, err := grpc.NewClient(fmt.Sprintf("127.0.0.1:%d", ports[0]),
			grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: ca.Pool(), Certificates: certificates})))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return clerkgatev1.NewUserServiceClient(conn)
	}
	plain := dial()
	for _, who := range []struct {
		name, authorization string
		users               clerkgatev1.UserServiceClient
		get, list, count    codes.Code
	}{
		{"nobody", "", plain, codes.Unauthenticated, codes.Unauthenticated, codes.Unauthenticated},
		{"a wrong token", "Bearer " + token[:len(token)-1] + "A", plain, codes.Unauthenticated, codes.Unauthenticated, codes.Unauthenticated},
		{"certificate", "", dial(ca.Issue("billing.example").TLS(t)), codes.NotFound, codes.PermissionDenied, codes.PermissionDenied},
		{"token", "Bearer " + token, plain, codes.PermissionDenied, codes.OK, codes.PermissionDenied},
		{"jwt", "Bearer " + issuer.Token("clerkgate", "job", nil), plain, codes.PermissionDenied, codes.PermissionDenied, codes.OK},
	} {
		ctx := t.Context()
		if who.authorization != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", who.authorization)
		}
		_, get := who.users.GetUser(ctx, &clerkgatev1.GetUserRequest{UserId: "user_nobody"})
		_, list := who.users.ListUsers(ctx, &clerkgatev1.ListUsersRequest{})
		_, count := who.users.CountUsers(ctx, &clerkgatev1.CountUsersRequest{})
		if status.Code(get) != who.get || status.Code(list) != who.list || status.Code(count) != who.count {
			t.Errorf("%s: %v, %v, %v", who.name, get, list, count)
		}
	}
	server.stop(t)
}

// TestImageBehindProxies starts two containers of the chart with Redis, and replaces one
// after the other under load, behind each proxy.
func TestImageBehindProxies(t *testing.T) {
	i := unpack(t)
	for _, proxy := range proxies {
		t.Run(proxy.name, func(t *testing.T) {
			clerk, redis := startClerk(t), redistest.Start(t)
			ports := freePorts(t, 4)
			backends := []backend{{ports[0], ports[1]}, {ports[2], ports[3]}}
			run := func(b backend) *process {
				p := render(t, m{
					"ports": m{"grpc": b.grpc, "http": b.http}, "redis": m{"secretName": "redis"}, "allowUnauthenticated": true,
					"config": m{"clerk-api-url": clerk, "quota": "100000/10s", "first-window": "full"},
				})
				return i.start(t, p, map[string]string{
					"clerk/clerk-secret-key": "sk_test_animage", "redis/redis-url": redis.URL(),
				}, b.http, http.DefaultClient)
			}
			servers := []*process{run(backends[0]), run(backends[1])}
			c := proxy.start(t, backends)
			ids := c.ids(t)
			c.underLoad(t, ids, func() {
				for n, b := range backends {
					servers[n].stop(t)
					servers[n] = run(b)
					time.Sleep(time.Second) // as a rollout waits for the check of the proxy
				}
			})
		})
	}
}
