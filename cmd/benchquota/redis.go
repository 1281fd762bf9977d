package main

import (
	"context"
	"net"
	"regexp"
	"strconv"
)

// redis is a redis-server that starts empty and does not persist.
type redis struct {
	*process
	port string
}

var redisReady = regexp.MustCompile(`port=(\d+)[\s\S]*Ready to accept connections`)

// startRedis starts a redis-server on a free port.
func startRedis(ctx context.Context) (*redis, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	listener.Close()
	r := &redis{port: strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)}
	if err := r.start(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// start starts the server, again on the same port if it has ended.
func (r *redis) start(ctx context.Context) error {
	p, err := startProcess(ctx, "redis-server", redisReady,
		"--bind", "127.0.0.1", "--port", r.port, "--save", "", "--appendonly", "no")
	if err != nil {
		return err
	}
	r.process = p
	return nil
}

// address returns the host and port.
func (r *redis) address() string { return net.JoinHostPort("127.0.0.1", r.port) }
