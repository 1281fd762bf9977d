package caller

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.yaml.in/yaml/v3"

	"github.com/clerkgate/clerkgate/internal/livefile"
)

// maxGuaranteed is the maximum of the callers' guaranteed parts together, in percent. A
// tenth of the requests is for calls of batch priority, and a tenth is left to all others.
const maxGuaranteed = 80

// maxName is the maximum length of a caller's name, in bytes.
const maxName = 64

// Methods are the methods that a callers file may allow. Callers with "permits" or
// "invalidate" also have those that belong to it; "methods" can't list them.
type Methods struct {
	Plain, Permits, Invalidate []string
}

// reader reads a callers file.
type reader struct {
	faults
	methods Methods
	old     *Set
	set     *Set
	issuers map[string]*issuer // by name in the file
	names   map[string]bool    // of callers
	claims  []claimsAt
	// guaranteed is the sum of the callers' guaranteed parts, in percent.
	guaranteed int
}

// Parse parses a callers file. Its errors have the line and the field of each fault, and
// show no value. State of issuers in old that the new file still has is kept; old may be
// nil.
func Parse(b []byte, m Methods, old *Set) (*Set, error) {
	root, err := document(b)
	if err != nil {
		return nil, err
	}
	r := &reader{methods: m, old: old, issuers: map[string]*issuer{}, names: map[string]bool{}, set: &Set{
		tokens: map[[8]byte][]token{}, ids: map[string]*Caller{}, labels: map[string]*Caller{}, issuers: map[string]*issuer{},
	}}
	if r.checkPlain(root); len(r.all) > 0 {
		return nil, r.err()
	}
	// Issuers are read first, since callers refer to them.
	skip := func(*yaml.Node, string) {}
	r.readMap(root, "", fields{
		"issuers": func(n *yaml.Node, field string) { r.readList(n, field, r.readIssuer) },
		"mesh":    func(n *yaml.Node, field string) { r.readList(n, field, r.readMesh) },
		"callers": skip,
	}, "callers")
	if root.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(root.Content); i += 2 {
			if root.Content[i].Value == "callers" {
				r.readList(root.Content[i+1], "callers", r.readCaller)
			}
		}
	}
	r.checkClaims()
	if err := r.err(); err != nil {
		return nil, err
	}
	return r.set, nil
}

func (r *reader) readIssuer(n *yaml.Node, field string) {
	var name string
	var c issuerConfig
	var ca *yaml.Node
	before := len(r.all)
	r.readMap(n, field, fields{
		"name": func(n *yaml.Node, field string) { r.readText(n, field, &name) },
		"issuer": func(n *yaml.Node, field string) {
			if !r.readText(n, field, &c.url) {
				return
			}
			u, err := url.Parse(c.url)
			if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !mayAsk(u) {
				r.add(n, field, "want an https:// URL without a query or fragment (http:// to a loopback address will do)")
			}
		},
		"audience": func(n *yaml.Node, field string) { r.readText(n, field, &c.audience) },
		"ca_file": func(n *yaml.Node, field string) {
			r.readText(n, field, &c.caFile)
			ca = n
		},
		"token_file": func(n *yaml.Node, field string) { r.readText(n, field, &c.tokenFile) },
	}, "name", "issuer", "audience")
	if len(r.all) > before {
		return
	}
	var old *issuer
	if r.old != nil {
		old = r.old.issuers[c.url]
	}
	made, err := newIssuer(c, old)
	switch {
	case err != nil:
		r.add(ca, field+".ca_file", "%v", err)
	case r.issuers[name] != nil:
		r.add(n, field+".name", "another issuer has this name")
	case r.set.issuers[c.url] != nil:
		r.add(n, field+".issuer", "another issuer has this URL")
	default:
		r.issuers[name], r.set.issuers[c.url] = made, made
	}
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

func (r *reader) readMesh(n *yaml.Node, field string) {
	var header string
	var p peers
	r.readMap(n, field, fields{
		"header": func(n *yaml.Node, field string) {
			if r.readText(n, field, &header) && header != "x-forwarded-client-cert" && header != "l5d-client-id" {
				r.add(n, field, "want x-forwarded-client-cert or l5d-client-id")
			}
		},
		"from": func(n *yaml.Node, field string) {
			r.readList(n, field, func(n *yaml.Node, field string) {
				var text string
				if !r.readText(n, field, &text) {
					return
				}
				if text == "unix" {
					p.unix = true
					return
				}
				prefix, err := parsePrefix(text)
				if err != nil {
					r.add(n, field, "want an address, such as 10.0.0.1, a network, such as 10.0.0.0/8, or unix")
					return
				}
				p.from = append(p.from, prefix)
			})
		},
	}, "header", "from")
	to := &r.set.mesh.xfcc
	if header == "l5d-client-id" {
		to = &r.set.mesh.l5d
	}
	if to.unix || len(to.from) > 0 {
		r.add(n, field+".header", "given twice")
	}
	*to = p
}

func (r *reader) readCaller(n *yaml.Node, field string) {
	c, label := &Caller{Weight: 1}, false
	r.readMap(n, field, fields{
		"name": func(n *yaml.Node, field string) {
			if !r.readText(n, field, &c.Name) {
				return
			}
			if !validName(c.Name) {
				r.add(n, field, "want at most %d letters, digits, '.', '_', '-', '/' and ':'", maxName)
			}
			if r.names[c.Name] {
				r.add(n, field, "another caller has this name")
			}
			r.names[c.Name] = true
		},
		"identity": func(n *yaml.Node, field string) { r.readIdentity(n, field, c, &label) },
		"allow":    func(n *yaml.Node, field string) { r.readAllow(n, field, c) },
	}, "name", "identity")
	r.set.callers = append(r.set.callers, c)
	if label {
		r.set.labels[c.Name] = c
	}
}

func validName(name string) bool {
	if len(name) > maxName || strings.HasPrefix(name, TokenPrefix) {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("._-/:", c) >= 0:
		default:
			return false
		}
	}
	return true
}

func (r *reader) readIdentity(n *yaml.Node, field string, c *Caller, label *bool) {
	r.readMap(n, field, fields{
		"certificates": func(n *yaml.Node, field string) {
			r.readList(n, field, func(n *yaml.Node, field string) { r.readID(n, field, c) })
		},
		"tokens": func(n *yaml.Node, field string) {
			r.readList(n, field, func(n *yaml.Node, field string) { r.readToken(n, field, c) })
		},
		"jwt": func(n *yaml.Node, field string) {
			r.readList(n, field, func(n *yaml.Node, field string) { r.readClaims(n, field, c) })
		},
		"label": func(n *yaml.Node, field string) { r.readBool(n, field, label) },
	})
	if n.Kind == yaml.MappingNode && (len(n.Content) == 0 || len(n.Content) == 2 && n.Content[1].Value == "false") {
		r.add(n, field, "want certificates, tokens, jwt or label: true")
	}
}

// readID reads a certificate's name: dns:NAME, uri:URI or a SPIFFE id.
func (r *reader) readID(n *yaml.Node, field string, c *Caller) {
	var text string
	if !r.readText(n, field, &text) {
		return
	}
	id := text
	kind, rest, _ := strings.Cut(text, ":")
	switch kind {
	case "dns":
		if !validDNS(rest) {
			r.add(n, field, "want a DNS name without wildcards after dns:")
			return
		}
		id = strings.ToLower(text)
	case "spiffe":
		if _, err := spiffeid.FromString(text); err != nil {
			r.add(n, field, "want a SPIFFE id such as spiffe://example.org/billing")
			return
		}
		id = "uri:" + text
	case "uri":
		u, err := url.Parse(rest)
		if err != nil || u.Scheme == "" {
			r.add(n, field, "want a URI with a scheme after uri:")
			return
		}
		if u.Scheme == "spiffe" {
			if _, err := spiffeid.FromString(rest); err != nil {
				r.add(n, field, "want a SPIFFE id such as spiffe://example.org/billing")
				return
			}
		}
	default:
		r.add(n, field, "want dns:NAME, uri:URI or a SPIFFE id")
		return
	}
	if other := r.set.ids[id]; other != nil {
		r.add(n, field, "given twice")
		return
	}
	r.set.ids[id] = c
}

func (r *reader) readToken(n *yaml.Node, field string, c *Caller) {
	t := token{who: c}
	known := false
	r.readMap(n, field, fields{
		"sha256": func(n *yaml.Node, field string) {
			var text string
			if !r.readText(n, field, &text) {
				return
			}
			if strings.HasPrefix(text, TokenPrefix) {
				r.add(n, field, "this is a token, and whoever reads the file can use it: take another, and put its hash here, which 'clerkgate token new' prints")
				return
			}
			b, err := hex.DecodeString(text)
			if err != nil || len(b) != len(t.hash) {
				r.add(n, field, "want 64 hexadecimal digits, which 'clerkgate token new' prints")
				return
			}
			t.hash, known = [32]byte(b), true
		},
		"not_after": func(n *yaml.Node, field string) { r.readTime(n, field, &t.notAfter) },
	}, "sha256")
	if !known {
		return
	}
	key := [8]byte(t.hash[:8])
	for _, other := range r.set.tokens[key] {
		if other.hash == t.hash {
			r.add(n, field+".sha256", "given twice")
			return
		}
	}
	r.set.tokens[key] = append(r.set.tokens[key], t)
}

func (r *reader) readAllow(n *yaml.Node, field string, c *Caller) {
	var permits, invalidate bool
	r.readMap(n, field, fields{
		"methods": func(n *yaml.Node, field string) {
			r.readList(n, field, func(n *yaml.Node, field string) {
				var text string
				if !r.readText(n, field, &text) {
					return
				}
				switch {
				case slices.Contains(r.methods.Plain, text):
					c.Methods = append(c.Methods, text)
				case slices.Contains(r.methods.Permits, text):
					r.add(n, field, "allow this by permits: true")
				case slices.Contains(r.methods.Invalidate, text):
					r.add(n, field, "allow this by invalidate: true")
				default:
					r.add(n, field, "want one of %s", strings.Join(r.methods.Plain, ", "))
				}
			})
		},
		"full_view": func(n *yaml.Node, field string) {
			r.readList(n, field, func(n *yaml.Node, field string) { r.readPart(n, field, c) })
		},
		"max_priority": func(n *yaml.Node, field string) {
			switch n.Value {
			case "interactive":
			case "batch":
				c.BatchOnly = true
			default:
				r.add(n, field, "want interactive or batch")
			}
		},
		"streams":      func(n *yaml.Node, field string) { r.readInt(n, field, 1, 1<<20, &c.Streams) },
		"guaranteed":   func(n *yaml.Node, field string) { r.readGuaranteed(n, field, c) },
		"weight":       func(n *yaml.Node, field string) { r.readInt(n, field, 1, 100, &c.Weight) },
		"max_lookups":  func(n *yaml.Node, field string) { r.readLimit(n, field, &c.Lookups) },
		"max_requests": func(n *yaml.Node, field string) { r.readLimit(n, field, &c.Requests) },
		"permits":      func(n *yaml.Node, field string) { r.readBool(n, field, &permits) },
		"invalidate":   func(n *yaml.Node, field string) { r.readBool(n, field, &invalidate) },
		"metrics":      func(n *yaml.Node, field string) { r.readBool(n, field, &c.Metrics) },
		"pprof":        func(n *yaml.Node, field string) { r.readBool(n, field, &c.Pprof) },
	})
	if permits {
		c.Methods = append(c.Methods, r.methods.Permits...)
	}
	if invalidate {
		c.Methods = append(c.Methods, r.methods.Invalidate...)
	}
	slices.Sort(c.Methods)
	c.Methods = slices.Compact(c.Methods)
}

// readGuaranteed reads a caller's guaranteed part of the requests.
func (r *reader) readGuaranteed(n *yaml.Node, field string, c *Caller) {
	if !r.readPercent(n, field, maxGuaranteed, &c.Guaranteed) {
		return
	}
	if r.guaranteed += c.Guaranteed; r.guaranteed > maxGuaranteed {
		r.add(n, field, "the guarantees of the callers up to this one add up to %d%%: want at most %d%% for all callers", r.guaranteed, maxGuaranteed)
	}
}

func (r *reader) readPart(n *yaml.Node, field string, c *Caller) {
	var all []string
	for _, p := range partNames {
		if p.name == n.Value {
			c.FullView |= p.part
			return
		}
		all = append(all, p.name)
	}
	r.add(n, field, "want one of %s", strings.Join(all, ", "))
}

// readFile returns the content of a file that the callers file names. Its errors do not
// contain the name, which is a value of the callers file.
func readFile(name string) ([]byte, error) {
	b, err := livefile.Read(name)
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		err = at.Err
	}
	return b, err
}
