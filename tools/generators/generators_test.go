//go:build generators

// Package generators tests what the generators of other languages make of the
// contract: that they keep its names, that what they write compiles, and that a
// client made of it reads a user from a server. `make generators` runs it, and
// installs what it takes: protoc and its plugins from Debian, whose paths the
// tests use, and Node.js with packages from npm.
package generators

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// contract is the folder of the contract's protos.
const contract = "../../proto"

// run runs a command in dir and returns what it printed. A failure ends the test.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	return runWith(t, dir, "", name, args...)
}

// runWith is run with a standard input.
func runWith(t *testing.T, dir, stdin, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			out = append(out, exit.Stderr...)
		}
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// protos returns the protos in a folder, relative to it.
func protos(t *testing.T, dir string) []string {
	t.Helper()
	names := find(t, dir, ".proto")
	if len(names) == 0 {
		t.Fatalf("no protos in %s", dir)
	}
	return names
}

// find returns the files in a folder whose names end in suffix, relative to it.
func find(t *testing.T, dir, suffix string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, suffix) {
			return err
		}
		name, err := filepath.Rel(dir, path)
		names = append(names, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// protoc generates code of the protos in dir into a new folder, which it returns.
// In the flags, OUT stands for that folder.
func protoc(t *testing.T, dir string, flags ...string) string {
	t.Helper()
	out := t.TempDir()
	args := []string{"-I", dir}
	for _, flag := range flags {
		args = append(args, strings.ReplaceAll(flag, "OUT", out))
	}
	run(t, ".", "protoc", append(args, protos(t, dir)...)...)
	return out
}

// describe returns the files of the protos in dir as protoc reads them.
func describe(t *testing.T, dir string) []protoreflect.FileDescriptor {
	t.Helper()
	out := protoc(t, dir, "--include_imports", "--descriptor_set_out=OUT/set")
	text, err := os.ReadFile(filepath.Join(out, "set"))
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		t.Fatal(err)
	}
	var list []protoreflect.FileDescriptor
	for _, name := range protos(t, dir) {
		file, err := files.FindFileByPath(name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, file)
	}
	return list
}

// messages calls visit with each message of the files, nested ones included.
func messages(files []protoreflect.FileDescriptor, visit func(protoreflect.MessageDescriptor)) {
	var walk func(protoreflect.MessageDescriptors)
	walk = func(list protoreflect.MessageDescriptors) {
		for i := range list.Len() {
			visit(list.Get(i))
			walk(list.Get(i).Messages())
		}
	}
	for _, file := range files {
		walk(file.Messages())
	}
}

// npm returns the folder of Node's packages, which it installs if need be.
func npm(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("testdata/node")
	if err != nil {
		t.Fatal(err)
	}
	modules := filepath.Join(dir, "node_modules")
	lock, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	// A copy of the lock is written when its packages have been installed.
	installed := filepath.Join(modules, ".installed")
	if done, err := os.ReadFile(installed); err != nil || !bytes.Equal(done, lock) {
		run(t, dir, "npm", "ci", "--ignore-scripts")
		if err := os.WriteFile(installed, lock, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return modules
}

// serve starts `clerkgate serve --sim` and returns its address and its program.
func serve(t *testing.T) (address, program string) {
	t.Helper()
	dir := t.TempDir()
	run(t, "../..", "go", "build", "-o", dir, "./cmd/clerkgate")
	program = filepath.Join(dir, "clerkgate")
	ctx, stop := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, program, "serve", "--sim", "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0")
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait() // it was killed
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		_ = cmd.Wait() // log is complete then
		t.Fatalf("clerkgate serve --sim: %v\n%s", err, &log)
	}
	for word := range strings.FieldsSeq(line) {
		if strings.HasPrefix(word, "127.0.0.1:") {
			return word, program
		}
	}
	t.Fatalf("clerkgate serve --sim printed no address: %q", line)
	return "", ""
}
