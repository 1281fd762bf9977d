// Package chart tests the Helm chart: it is rendered by Helm itself, and what comes of
// it is decoded strictly into Kubernetes' own types.
package chart

import (
	"bytes"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

const chart = "../../deploy/chart/clerkgate"

// render renders the chart as `helm template` does.
func render(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("go", slices.Concat([]string{"tool", "helm", "template", "clerkgate", chart}, args)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Logf("helm: %s", stderr.String())
	}
	return string(out), err
}

// serviceMonitor is the part of the Prometheus operator's type that the chart sets.
type serviceMonitor struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		Selector struct {
			MatchLabels map[string]string `json:"matchLabels"`
		} `json:"selector"`
		Endpoints []struct {
			Port, Path, Interval, Scheme string
			BasicAuth                    struct {
				Username, Password corev1.SecretKeySelector
			} `json:"basicAuth"`
			TLSConfig *struct {
				CA struct {
					Secret corev1.SecretKeySelector `json:"secret"`
				} `json:"ca"`
				ServerName string `json:"serverName"`
			} `json:"tlsConfig"`
		} `json:"endpoints"`
	} `json:"spec"`
}

// decode decodes every document strictly, and returns what it found by kind.
func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	found := map[string]any{}
	for document := range strings.SplitSeq(text, "\n---") {
		var head struct{ Kind string }
		if err := yaml.Unmarshal([]byte(document), &head); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		var into any
		switch head.Kind {
		case "":
			continue
		case "Deployment":
			into = &appsv1.Deployment{}
		case "Service":
			into = &corev1.Service{}
		case "ServiceAccount":
			into = &corev1.ServiceAccount{}
		case "ConfigMap":
			into = &corev1.ConfigMap{}
		case "PodDisruptionBudget":
			into = &policyv1.PodDisruptionBudget{}
		case "HorizontalPodAutoscaler":
			into = &autoscalingv2.HorizontalPodAutoscaler{}
		case "NetworkPolicy":
			into = &networkingv1.NetworkPolicy{}
		case "ServiceMonitor":
			into = &serviceMonitor{}
		default:
			t.Fatalf("a %s, which this test does not know", head.Kind)
		}
		if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
			t.Errorf("%s: %v in\n%s", head.Kind, err, document)
		}
		if found[head.Kind] != nil {
			t.Errorf("two of kind %s", head.Kind)
		}
		found[head.Kind] = into
	}
	return found
}

func TestAlone(t *testing.T) {
	text, err := render(t, "--set", "allowUnauthenticated=true")
	if err != nil {
		t.Fatal(err)
	}
	found := decode(t, text)
	d := found["Deployment"].(*appsv1.Deployment)
	if *d.Spec.Replicas != 1 || d.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
		t.Errorf("without Redis: %d replicas, %s", *d.Spec.Replicas, d.Spec.Strategy.Type)
	}
	if found["HorizontalPodAutoscaler"] != nil || found["PodDisruptionBudget"] != nil {
		t.Error("one replica is scaled or has a budget")
	}
}

func TestEverything(t *testing.T) {
	text, err := render(t, "-f", "everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	found := decode(t, text)
	if len(found) != 8 {
		t.Errorf("found %d kinds", len(found))
	}
	d := found["Deployment"].(*appsv1.Deployment)
	pod := d.Spec.Template.Spec
	c := pod.Containers[0]
	if d.Spec.Replicas != nil || d.Spec.Strategy.Type != appsv1.RollingUpdateDeploymentStrategyType {
		t.Errorf("replicas %v beside an autoscaler, or %s", d.Spec.Replicas, d.Spec.Strategy.Type)
	}
	if !*pod.SecurityContext.RunAsNonRoot || !*c.SecurityContext.ReadOnlyRootFilesystem || *c.SecurityContext.AllowPrivilegeEscalation {
		t.Error("the pod has privileges")
	}
	if *pod.TerminationGracePeriodSeconds != 30 {
		t.Errorf("grace period %d s", *pod.TerminationGracePeriodSeconds)
	}
	if env := c.Env; len(env) != 2 || env[0].Name != "GOMEMLIMIT" || env[1] != (corev1.EnvVar{Name: "OTEL_EXPORTER_OTLP_ENDPOINT", Value: "http://collector:4317"}) {
		t.Errorf("environment %+v", env)
	}
	mounted := map[string]bool{}
	for _, v := range pod.Volumes {
		mounted[v.Name] = true
		if v.Secret != nil && (v.Secret.DefaultMode == nil || *v.Secret.DefaultMode != 0o440) {
			t.Errorf("the files of Secret %s are not for the pod's group alone", v.Secret.SecretName)
		}
	}
	for _, m := range c.VolumeMounts {
		if !mounted[m.Name] || !m.ReadOnly {
			t.Errorf("mount %s has no volume, or is not read-only", m.Name)
		}
		delete(mounted, m.Name)
	}
	if len(mounted) > 0 {
		t.Errorf("volumes that are not mounted: %v", mounted)
	}
	if !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == "redis-ca" }) {
		t.Error("extraVolumeMounts are left out")
	}
	// Prometheus connects to the addresses of pods, which no certificate names.
	if tls := found["ServiceMonitor"].(*serviceMonitor).Spec.Endpoints[0].TLSConfig; tls == nil || tls.CA.Secret.Key != "ca.crt" || tls.ServerName == "" {
		t.Errorf("the ServiceMonitor's tlsConfig is %+v", tls)
	}
}

// TestServiceAccountToken checks that a pod has a token of its service account only if the
// callers file reads it, as for the issuer that the cluster itself is.
func TestServiceAccountToken(t *testing.T) {
	for name, want := range map[string]bool{"everything.yaml": false, pageValues(t): true} {
		text, err := render(t, "-f", name)
		if err != nil {
			t.Fatal(err)
		}
		pod := decode(t, text)["Deployment"].(*appsv1.Deployment).Spec.Template.Spec
		if got := *pod.AutomountServiceAccountToken; got != want {
			t.Errorf("%s: automountServiceAccountToken is %t, want %t", name, got, want)
		}
	}
}

// TestWithoutHTTP turns the HTTP listener off: no port of it is left, and the probes come by
// gRPC or, since Kubernetes' gRPC probes have no TLS, by a command in the image.
func TestWithoutHTTP(t *testing.T) {
	byGRPC := func(service string) corev1.ProbeHandler {
		return corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 9090, Service: &service}}
	}
	byCommand := func(service string) corev1.ProbeHandler {
		command := []string{"/clerkgate", "health", "--address", "127.0.0.1:9090", "--timeout", "5s", "--skip-verify"}
		if service != "" {
			command = append(command, "--service", service)
		}
		return corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: command}}
	}
	for name, tt := range map[string]struct {
		args    []string
		probe   func(service string) corev1.ProbeHandler
		timeout int32 // of the readiness probe, in seconds
	}{
		"plain":    {[]string{"--set", "allowUnauthenticated=true,networkPolicy.enabled=true"}, byGRPC, 0},
		"with TLS": {[]string{"-f", "everything.yaml", "--set", "serviceMonitor.enabled=false"}, byCommand, 5},
	} {
		text, err := render(t, append(tt.args, "--set", "http.enabled=false")...)
		if err != nil {
			t.Fatal(err)
		}
		found := decode(t, text)
		c := found["Deployment"].(*appsv1.Deployment).Spec.Template.Spec.Containers[0]
		for kind, p := range map[string]struct {
			got     *corev1.Probe
			service string
		}{"startup": {c.StartupProbe, "alive"}, "readiness": {c.ReadinessProbe, ""}, "liveness": {c.LivenessProbe, "alive"}} {
			if want := tt.probe(p.service); !reflect.DeepEqual(p.got.ProbeHandler, want) {
				t.Errorf("%s: the %s probe is %+v, want %+v", name, kind, p.got.ProbeHandler, want)
			}
		}
		if got := c.ReadinessProbe.TimeoutSeconds; got != tt.timeout {
			t.Errorf("%s: the readiness probe has %d s", name, got)
		}
		var ports []string
		for _, p := range c.Ports {
			ports = append(ports, "container "+p.Name)
		}
		for _, p := range found["Service"].(*corev1.Service).Spec.Ports {
			ports = append(ports, "service "+p.Name)
		}
		for _, rule := range found["NetworkPolicy"].(*networkingv1.NetworkPolicy).Spec.Ingress {
			for _, p := range rule.Ports {
				ports = append(ports, "policy "+p.Port.String())
			}
		}
		want := []string{"container grpc", "service grpc", "policy grpc"}
		if name == "with TLS" {
			want = []string{"container grpc", "container webhooks", "service grpc", "service webhooks", "policy grpc", "policy webhooks"}
		}
		if !slices.Equal(ports, want) {
			t.Errorf("%s: ports %q, want %q", name, ports, want)
		}
		settings := found["ConfigMap"].(*corev1.ConfigMap).Data["clerkgate.yaml"]
		if !strings.Contains(settings, "http-listen: \"off\"\n") {
			t.Errorf("%s: the settings are\n%s", name, settings)
		}
	}
}

func TestRefused(t *testing.T) {
	for name, args := range map[string][]string{
		"nobody said who may call":  {},
		"a misspelt value":          {"--set", "allowUnauthenticated=true,replica=2"},
		"a wrong type":              {"--set", "allowUnauthenticated=true,replicas=many"},
		"autoscaling without Redis": {"--set", "allowUnauthenticated=true,autoscaling.enabled=true"},
		"no memory limit":           {"--set", "allowUnauthenticated=true,resources.limits=null"},
		"a privileged port":         {"--set", "allowUnauthenticated=true,ports.grpc=80"},
		"HTTP off by config":        {"--set", "allowUnauthenticated=true,config.http-listen=off"},
		"HTTP off as YAML 1.1":      {"--set", "allowUnauthenticated=true", "--set-json", `config={"http-listen":false}`},
		"a monitor without HTTP":    {"--set", "allowUnauthenticated=true,http.enabled=false,serviceMonitor.enabled=true"},
		"profiles without HTTP":     {"--set", "allowUnauthenticated=true,http.enabled=false,config.pprof=true"},
		"a key without a secret":    {"--set", "allowUnauthenticated=true,clerkSecretKey.secretName="},
	} {
		if _, err := render(t, args...); err == nil {
			t.Errorf("%s: rendered", name)
		}
	}
}

// pageValues returns a file with the values that docs/deploy/kubernetes.md has as an example.
func pageValues(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/deploy/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```yaml\n")
	text, _, _ = strings.Cut(text, "```")
	name := filepath.Join(t.TempDir(), "page.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// serviceAccount returns a directory with the files of a pod's service account.
func serviceAccount(t *testing.T) string {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"ca.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
		"token":  []byte("token"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestSettings has clerkgate check the settings that the chart writes. Files that are
// only in the pod are left out.
func TestSettings(t *testing.T) {
	dir := t.TempDir()
	account := serviceAccount(t)
	binary := filepath.Join(dir, "clerkgate")
	build := exec.Command("go", "build", "-o", binary, "./cmd/clerkgate")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, args := range [][]string{{"-f", "everything.yaml"}, {"-f", "../../deploy/kubernetes/values.yaml"}, {"-f", pageValues(t)},
		{"-f", "../../deploy/kubernetes/values.yaml", "--set", "http.enabled=false,config.metrics=otlp"}} {
		text, err := render(t, args...)
		if err != nil {
			t.Fatal(err)
		}
		files := decode(t, text)["ConfigMap"].(*corev1.ConfigMap).Data
		settings := map[string]any{}
		if err := yaml.Unmarshal([]byte(files["clerkgate.yaml"]), &settings); err != nil {
			t.Fatal(err)
		}
		for name, value := range settings {
			if path, ok := value.(string); ok && strings.HasPrefix(path, "/etc/clerkgate/") {
				delete(settings, name)
			}
		}
		delete(settings, "webhook-listen") // needs its secret's file
		if callers := files["callers.yaml"]; callers != "" {
			callers = strings.ReplaceAll(callers, "/var/run/secrets/kubernetes.io/serviceaccount", account)
			name := filepath.Join(dir, "callers.yaml")
			if err := os.WriteFile(name, []byte(callers), 0o600); err != nil {
				t.Fatal(err)
			}
			settings["callers-file"] = name
		}
		config, err := yaml.Marshal(settings)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, "clerkgate.yaml")
		if err := os.WriteFile(name, config, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(binary, "config", "check", "--config", name)
		cmd.Env = append(os.Environ(), "CLERK_SECRET_KEY=sk_test_example")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s\nwith\n%s", args, err, out, config)
		}
	}
}

// TestManifests keeps the plain manifests as the chart renders them.
func TestManifests(t *testing.T) {
	want, err := render(t, "-f", "../../deploy/kubernetes/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	decode(t, want)
	got, err := os.ReadFile("../../deploy/kubernetes/clerkgate.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("deploy/kubernetes/clerkgate.yaml is not of today: run make manifests")
	}
}
