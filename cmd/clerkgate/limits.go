package main

import (
	"time"

	"github.com/clerkgate/clerkgate/internal/words"
	"github.com/clerkgate/clerkgate/server"
)

// limitFlags are the flags of serve that bound what callers may send, hold and leave
// unread, and how long their connections stay open.
type limitFlags struct {
	DefaultTimeout   time.Duration `default:"30s" group:"Calls" help:"The time limit of a call without a deadline, and of each page of a stream without one."`
	MaxTimeout       time.Duration `default:"10m" group:"Calls" help:"The time limit of a call with a longer deadline, and of each page of such a stream. From --default-timeout to 24h."`
	MaxRequestBytes  string        `default:"1MiB" placeholder:"BYTES" group:"Calls" help:"The maximum size of a call's request, decompressed. 256KiB to 16MiB, in bytes or with KiB or MiB."`
	MaxMetadataBytes string        `default:"64KiB" placeholder:"BYTES" group:"Calls" help:"The maximum size of a call's metadata, and of the header of an HTTP request: all names and values with 32 bytes for each pair. It may hold a large JSON Web Token. 8KiB to 1MiB, in bytes or with KiB or MiB."`
	MaxStreams       int           `name:"max-streams-per-caller" default:"64" group:"Calls" unit:"streams" help:"The maximum number of open streams of one caller (StreamUsers, WatchQuota, health and reflection); one address may have 16 times as many."`
	MaxUnreadBytes   string        `default:"128MiB" placeholder:"BYTES" group:"Calls" help:"The maximum bytes of answers that wait for callers to read them; one address may have half of it. 16MiB or more, in bytes or with KiB, MiB or GiB."`
	SendTimeout      time.Duration `default:"20s" group:"Calls" help:"How long a caller may leave an answer unread before its stream is ended. After twice that time its connection is closed."`

	MaxConnections        int           `default:"4096" group:"Connections" unit:"connections" help:"The maximum number of connections of each listener. Further connections are closed at once."`
	ConnectionsPerAddress string        `default:"25%" placeholder:"SHARE" group:"Connections" help:"The part of --max-connections that one address (of IPv6, one /64) may have, 1% to 100%. 100% if all callers come through one proxy or NAT."`
	ReadTimeout           time.Duration `default:"10s" group:"Connections" help:"The time limit for an HTTP request to arrive, with its body, and for the request of a gRPC call to arrive after its metadata. 1s to 5m."`
	ConnectionAge         time.Duration `default:"30m" group:"Connections" help:"The age at which a connection is closed once its calls have ended, plus or minus a random tenth, so that clients connect to new replicas. 1s to 24h."`
	ConnectionIdleTimeout time.Duration `default:"15m" group:"Connections" help:"How long a gRPC connection may be without calls before it is closed. 1s to 24h."`
	HTTPIdleTimeout       time.Duration `name:"http-idle-timeout" default:"90s" group:"Connections" help:"How long an HTTP connection may be without requests before it is closed. It must be longer than the same time of proxies that keep connections to the server. 1s to 24h."`
	KeepaliveInterval     time.Duration `default:"1m" group:"Connections" help:"How long an HTTP/2 connection, of gRPC or not, may be silent before the server pings the client. 1s to 24h."`
	KeepaliveTimeout      time.Duration `default:"20s" group:"Connections" help:"How long the client may take to answer a ping before its connection is closed. 1s to 5m."`
	KeepaliveMinInterval  time.Duration `default:"4s" group:"Connections" help:"The minimum time between two pings of a gRPC client, with or without calls. A client that pings more often is disconnected with ENHANCE_YOUR_CALM. The clients of this project ping every 30 s. 1s to 20s."`
}

// Ranges of sizes.
const (
	leastRequestBytes, mostRequestBytes   = 256 << 10, 16 << 20
	leastMetadataBytes, mostMetadataBytes = 8 << 10, 1 << 20
	leastUnreadBytes                      = 16 << 20
)

// limits returns the limits that the flags set.
func (f limitFlags) limits() (server.Limits, error) {
	const day = 24 * time.Hour
	for _, d := range []struct {
		flag               string
		value, least, most time.Duration
	}{
		{"max-timeout", f.MaxTimeout, f.DefaultTimeout, day},
		{"read-timeout", f.ReadTimeout, time.Second, 5 * time.Minute},
		{"connection-age", f.ConnectionAge, time.Second, day},
		{"connection-idle-timeout", f.ConnectionIdleTimeout, time.Second, day},
		{"http-idle-timeout", f.HTTPIdleTimeout, time.Second, day},
		{"keepalive-interval", f.KeepaliveInterval, time.Second, day},
		{"keepalive-timeout", f.KeepaliveTimeout, time.Second, 5 * time.Minute},
		{"keepalive-min-interval", f.KeepaliveMinInterval, time.Second, 20 * time.Second},
	} {
		switch {
		case d.value >= d.least && d.value <= d.most:
		case d.flag == "max-timeout":
			return server.Limits{}, usagef("--max-timeout: want --default-timeout (%s) to 24h, not %s", words.Setting(f.DefaultTimeout), words.Setting(d.value))
		default:
			return server.Limits{}, usagef("--%s: want %s to %s, not %s", d.flag, words.Setting(d.least), words.Setting(d.most), words.Setting(d.value))
		}
	}
	l := server.Limits{
		MaxTimeout: f.MaxTimeout, ReadTimeout: f.ReadTimeout, ConnectionAge: f.ConnectionAge,
		ConnectionIdle: f.ConnectionIdleTimeout, HTTPIdle: f.HTTPIdleTimeout, KeepaliveInterval: f.KeepaliveInterval,
		KeepaliveTimeout: f.KeepaliveTimeout, KeepaliveMinInterval: f.KeepaliveMinInterval,
	}
	for _, b := range []struct {
		flag, text  string
		least, most int64
		to          *int
	}{
		{"max-request-bytes", f.MaxRequestBytes, leastRequestBytes, mostRequestBytes, &l.MaxRequestBytes},
		{"max-metadata-bytes", f.MaxMetadataBytes, leastMetadataBytes, mostMetadataBytes, &l.MaxMetadataBytes},
	} {
		n, err := parseBytes(b.text, b.least, b.most)
		if err != nil {
			return l, usagef("--%s: %v", b.flag, err)
		}
		*b.to = int(n)
	}
	var err error
	if l.AddressShare, err = parseShare(f.ConnectionsPerAddress, 1, 100); err != nil {
		return l, usagef("--connections-per-address: %v", err)
	}
	return l, nil
}
