package deploy_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

const dashboardFile = "grafana/clerkgate.json"

// panel is a part of Grafana's panel.
type panel struct {
	ID          int
	Type        string
	Title       string
	Description string
	Datasource  datasource
	GridPos     struct{ X, Y, W, H int }
	FieldConfig struct{ Defaults struct{ Unit string } }
	Targets     []struct {
		RefID      string
		Datasource datasource
		Expr       string
	}
}

type datasource struct{ Type, UID string }

type dashboard struct {
	SchemaVersion int
	UID           string
	Templating    struct{ List []struct{ Name, Type string } }
	Panels        []panel
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDashboard checks the structure of the dashboard, since no Grafana does.
func TestDashboard(t *testing.T) {
	d := readDashboard(t)
	if d.SchemaVersion != 39 { // that of Grafana 10.4; later ones read it
		t.Errorf("schemaVersion %d", d.SchemaVersion)
	}
	variables := map[string]string{}
	for _, v := range d.Templating.List {
		variables[v.Name] = v.Type
	}
	if variables["datasource"] != "datasource" {
		t.Errorf("the data source is no variable: %v", variables)
	}
	ids, titles := map[int]bool{}, map[string]bool{}
	taken := map[[2]int]string{} // cells of the grid
	variable := regexp.MustCompile(`\$\{?(\w+)`)
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("%s: the id %d is there twice", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.GridPos.W <= 0 || p.GridPos.H <= 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%s: it does not fit the grid: %+v", p.Title, p.GridPos)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				cell := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other, ok := taken[cell]; ok {
					t.Fatalf("%s lies on %s", p.Title, other)
				}
				taken[cell] = p.Title
			}
		}
		if p.Type == "row" {
			titles = map[string]bool{}
			continue
		}
		if p.Title == "" || titles[p.Title] || !strings.HasSuffix(p.Description, ".") || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
			t.Errorf("%q: want a title that is there once in its row, a description, a unit and a query", p.Title)
		}
		titles[p.Title] = true
		refs := map[string]bool{}
		for _, target := range p.Targets {
			if want := (datasource{"prometheus", "${datasource}"}); target.Datasource != want || p.Datasource != want {
				t.Errorf("%s: the data source is not the variable", p.Title)
			}
			if refs[target.RefID] || target.RefID == "" {
				t.Errorf("%s: two queries %q", p.Title, target.RefID)
			}
			refs[target.RefID] = true
			for _, name := range variable.FindAllStringSubmatch(target.Expr, -1) {
				if variables[name[1]] == "" && name[1] != "__rate_interval" {
					t.Errorf("%s: there is no variable %s", p.Title, name[1])
				}
			}
			selectors := regexp.MustCompile(`(?:clerkgate|grpc|process|go)_\w+(?:\{[^}]*\})?`)
			for _, s := range selectors.FindAllString(target.Expr, -1) {
				if !strings.HasPrefix(s, "grpc_method") && !strings.HasPrefix(s, "grpc_code") && !strings.Contains(s, `job="$job", instance=~"$instance"`) {
					t.Errorf("%s: %s is not of the chosen job and replicas", p.Title, s)
				}
			}
		}
	}
}
