package main

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

func TestRelay(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		conn, err := echo.Accept()
		if err == nil {
			_, _ = io.Copy(conn, conn)
			conn.Close()
		}
	}()
	r, err := startRelay(t.Context(), echo.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", r.address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	within := func(d time.Duration) {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(d)); err != nil {
			t.Fatal(err)
		}
	}
	say := func(text string) {
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
			t.Fatalf("heard %q, want %q: %v", got, want, err)
		}
	}
	within(10 * time.Second)
	say("open")
	hear("open")

	r.valve.Lock()
	say("late")
	within(50 * time.Millisecond)
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("while it is closed %d bytes pass: %v", n, err)
	}
	within(10 * time.Second)
	r.valve.Unlock()
	hear("late")

	r.close()
	if n, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after its end %d bytes pass: %v", n, err)
	}
}
