package caller

import (
	"errors"
	"net/netip"
	"strings"
)

// mesh is the trusted mesh headers and their peers.
type mesh struct {
	xfcc, l5d peers
}

// peers are the peers that are trusted with a header.
type peers struct {
	from []netip.Prefix
	unix bool // including Unix sockets
}

func (p peers) trusts(a netip.Addr) bool {
	if !a.IsValid() {
		return p.unix
	}
	a = a.Unmap().WithZone("")
	for _, prefix := range p.from {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

var errPrefix = errors.New("neither an address nor a network")

// parsePrefix parses an address without a zone, or a network. Those of IPv4 that are
// mapped to IPv6 are returned as IPv4, as trusts compares them.
func parsePrefix(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return prefix, errPrefix
		}
		prefix = netip.PrefixFrom(a, a.BitLen())
	}
	if a := prefix.Addr(); a.Is4In6() {
		if prefix.Bits() < 96 {
			return prefix, errPrefix
		}
		prefix = netip.PrefixFrom(a.Unmap(), prefix.Bits()-96)
	}
	return prefix.Masked(), nil
}

// maxHeader is the maximum length of a mesh header, in bytes.
const maxHeader = 32 << 10

// names returns the names in trusted headers, as keys of Set.ids. Headers from other
// peers are ignored.
func (m mesh) names(c *Credentials) ([]string, error) {
	var names []string
	if len(c.XFCC) > 0 && m.xfcc.trusts(c.Peer) {
		// Each proxy appends its element; all but the rightmost may come from the client.
		found, err := parseXFCC(c.XFCC[len(c.XFCC)-1])
		if err != nil {
			return nil, err
		}
		names = append(names, found...)
	}
	if len(c.L5D) > 0 && m.l5d.trusts(c.Peer) {
		if len(c.L5D) != 1 || !validDNS(c.L5D[0]) {
			return nil, errors.New("l5d-client-id is no DNS name")
		}
		names = append(names, "dns:"+strings.ToLower(c.L5D[0]))
	}
	return names, nil
}

// parseXFCC returns the URI and DNS names of the rightmost element of a header
// x-forwarded-client-cert. An element without any is an error: the proxy saw no
// certificate with a name.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-client-cert
func parseXFCC(header string) ([]string, error) {
	if len(header) > maxHeader {
		return nil, errors.New("x-forwarded-client-cert is too long")
	}
	elements, err := splitQuoted(header, ',')
	if err != nil {
		return nil, err
	}
	pairs, err := splitQuoted(elements[len(elements)-1], ';')
	if err != nil {
		return nil, err
	}
	var names []string
	for _, pair := range pairs {
		key, value, found := strings.Cut(pair, "=")
		if !found {
			return nil, errXFCC
		}
		value = unquote(value)
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "uri":
			if value != "" { // empty for a certificate without one
				names = append(names, "uri:"+value)
			}
		case "dns":
			if validDNS(value) { // a wildcard, which certificates may have, is nobody's name
				names = append(names, "dns:"+strings.ToLower(value))
			}
		}
	}
	if len(names) == 0 {
		return nil, errors.New("x-forwarded-client-cert has neither a URI nor a DNS name")
	}
	return names, nil
}

var errXFCC = errors.New("x-forwarded-client-cert is malformed")

// splitQuoted splits s at each separator outside double quotes. Inside them a backslash
// escapes the next byte. Quotes are around a whole value only, or an open quote of a client
// would turn what the proxy quotes, such as a Subject, into elements.
func splitQuoted(s string, separator byte) ([]string, error) {
	var parts []string
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			if quoted && i+1 < len(s) && s[i+1] != ',' && s[i+1] != ';' || !quoted && (i == 0 || s[i-1] != '=') {
				return nil, errXFCC
			}
			quoted = !quoted
		case c == separator && !quoted:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	if quoted {
		return nil, errXFCC
	}
	return append(parts, s[start:]), nil
}

// unquote removes the double quotes around a value and the backslashes in it.
func unquote(s string) string {
	s = strings.TrimSpace(s)
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	var b strings.Builder
	for i := 1; i < len(s)-1; i++ {
		if s[i] == '\\' && i < len(s)-2 {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// validDNS reports whether s may be a DNS name without wildcards.
func validDNS(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, c := range []byte(label) {
			switch {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			default:
				return false
			}
		}
	}
	return true
}
