package main

import (
	"context"
	"net"
	"regexp"
	"strconv"
)

// redis is a redis-server that begins empty and keeps nothing.
type redis struct {
	*process
	port string
}

var redisReady = regexp.MustCompile(`port=(\d+)[\s\S]*Ready to accept connections`)

// startRedis runs a redis-server on a port that is free.
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

// start runs it, on the same port again if it has ended.
func (r *redis) start(ctx context.Context) error {
	p, err := startProcess(ctx, "redis-server", redisReady,
		"--bind", "127.0.0.1", "--port", r.port, "--save", "", "--appendonly", "no")
	if err != nil {
		return err
	}
	r.process = p
	return nil
}

// address is its host and port.
func (r *redis) address() string { return net.JoinHostPort("127.0.0.1", r.port) }
