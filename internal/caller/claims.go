package caller

import (
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// callerClaims is a caller and the claims of its tokens.
type callerClaims struct {
	who    *Caller
	claims map[string]string
}

// matches reports whether a token's claims have all required values. A list has a value
// if any of its elements equals it.
func (c callerClaims) matches(claims map[string]any) bool {
	for name, want := range c.claims {
		switch v := claims[name].(type) {
		case string:
			if v != want {
				return false
			}
		case []any:
			has := false
			for _, member := range v {
				if text, ok := member.(string); ok && text == want {
					has = true
				}
			}
			if !has {
				return false
			}
		default:
			return false
		}
	}
	return len(c.claims) > 0
}

// claimsAt is the claims of a caller and where they are in the file.
type claimsAt struct {
	callerClaims
	issuer string
	node   *yaml.Node
	field  string
}

// key identifies claims of an issuer.
func (c claimsAt) key(names ...string) string {
	parts := []string{c.issuer}
	for _, name := range names {
		parts = append(parts, name, c.claims[name])
	}
	return strings.Join(parts, "\x00")
}

func (r *reader) readClaims(n *yaml.Node, field string, c *Caller) {
	at := claimsAt{callerClaims: callerClaims{who: c, claims: map[string]string{}}, node: n, field: field}
	r.readMap(n, field, fields{
		"issuer": func(n *yaml.Node, field string) {
			if r.readText(n, field, &at.issuer) && r.issuers[at.issuer] == nil {
				r.add(n, field, "there is no issuer of this name")
			}
		},
		"claims": func(n *yaml.Node, field string) {
			if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
				r.add(n, field, "want a map with at least one claim, such as sub")
				return
			}
			for i := 0; i+1 < len(n.Content); i += 2 {
				key, n, value := n.Content[i], n.Content[i+1], ""
				if _, twice := at.claims[key.Value]; twice || key.Kind != yaml.ScalarNode {
					r.add(key, field, "want each claim once")
				}
				if r.readText(n, join(field, "claim"), &value) && n.Tag != "!!str" {
					r.add(n, join(field, "claim"), "want a text, in quotes: a claim that is a number, true or false in a token never matches")
				}
				at.claims[key.Value] = value
			}
		},
	}, "issuer", "claims")
	if i := r.issuers[at.issuer]; i != nil {
		i.claims = append(i.claims, at.callerClaims)
		r.claims = append(r.claims, at)
	}
}

// checkClaims reports callers whose tokens would always be another's, too, and so be
// refused: the other one has the same claims, or one of them alone.
func (r *reader) checkClaims() {
	first := make(map[string]*Caller)
	for _, at := range r.claims {
		key := at.key(slices.Sorted(maps.Keys(at.claims))...)
		if first[key] == nil {
			first[key] = at.who
		}
	}
	for _, at := range r.claims {
		other := first[at.key(slices.Sorted(maps.Keys(at.claims))...)]
		for name := range at.claims {
			if alone := first[at.key(name)]; alone != nil && alone != at.who {
				other = alone
			}
		}
		if other != at.who {
			r.add(at.node, at.field+".claims", "every token with these claims is also that of another caller, and would be refused: add a claim there, or remove one of the two")
		}
	}
}
