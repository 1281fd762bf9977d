package server

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/test/bufconn"
)

// TestPings connects clients that ping at different intervals without calls: one that
// pings every 5 s stays connected, one that floods gets ENHANCE_YOUR_CALM.
func TestPings(t *testing.T) {
	for interval, stays := range map[time.Duration]bool{5 * time.Second: true, 4 * time.Second: true, time.Second: false} {
		synctest.Test(t, func(t *testing.T) {
			up := &fakeUpstream{}
			s, listener := New(Config{Users: up, Quota: up}), bufconn.Listen(1<<16)
			served := make(chan error, 1)
			go func() { served <- s.grpc.Serve(listener) }()
			defer func() {
				s.grpc.Stop()
				if err := <-served; err != nil {
					t.Error(err)
				}
				s.drain()
				s.stop()
			}()
			conn, err := listener.DialContext(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			refused := make(chan http2.ErrCode, 1)
			go readFrames(conn, refused)
			framer := http2.NewFramer(conn, nil)
			_, _ = io.WriteString(conn, http2.ClientPreface)
			_ = framer.WriteSettings()
			_ = framer.WriteSettingsAck()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			for pings := time.NewTicker(interval); ; {
				select {
				case <-pings.C:
					_ = framer.WritePing(false, [8]byte{1})
					continue
				case code := <-refused:
					if stays || code != http2.ErrCodeEnhanceYourCalm {
						t.Errorf("pings every %v are answered by GOAWAY %v", interval, code)
					}
				case <-ctx.Done():
					if !stays {
						t.Errorf("pings every %v are taken", interval)
					}
				}
				return
			}
		})
	}
}

// readFrames reads what a server sends until the connection ends, and reports a GOAWAY.
func readFrames(conn net.Conn, goAway chan<- http2.ErrCode) {
	for framer := http2.NewFramer(io.Discard, conn); ; {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		if f, ok := frame.(*http2.GoAwayFrame); ok {
			goAway <- f.ErrCode
			return
		}
	}
}

// TestReflectionV1Alpha uses the API of older clients.
func TestReflectionV1Alpha(t *testing.T) {
	up := &fakeUpstream{}
	r := start(t, Config{Users: up, Quota: up})
	stream, err := grpc_reflection_v1alpha.NewServerReflectionClient(r.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	//nolint:staticcheck // as above
	ask := &grpc_reflection_v1alpha.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1alpha.ServerReflectionRequest_ListServices{}}
	err = stream.Send(ask)
	answer, recvErr := stream.Recv()
	if err := errors.Join(err, recvErr); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range answer.GetListServicesResponse().GetService() { //nolint:staticcheck // as above
		names = append(names, s.GetName()) //nolint:staticcheck // as above
	}
	if len(names) < 4 {
		t.Errorf("services %v", names)
	}
	_ = stream.CloseSend()
}
