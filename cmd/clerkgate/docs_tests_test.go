package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocsNameTests checks that each test that a page of docs/ names exists.
func TestDocsNameTests(t *testing.T) {
	root := filepath.Join("..", "..")
	there, named := map[string]bool{}, map[string][]string{} // by name; the tests by page
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	mention := regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w+)`")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		test, page := strings.HasSuffix(path, "_test.go"), strings.HasSuffix(path, ".md") && strings.HasPrefix(path, filepath.Join(root, "docs"))
		if err != nil || d.IsDir() || !test && !page {
			return err
		}
		b, err := os.ReadFile(path)
		if test {
			for _, m := range declared.FindAllSubmatch(b, -1) {
				there[string(m[1])] = true
			}
			return err
		}
		for _, m := range mention.FindAllSubmatch(b, -1) {
			named[path] = append(named[path], string(m[1]))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(named[filepath.Join(root, "docs", "security.md")]); n < 20 {
		t.Errorf("docs/security.md names only %d tests", n)
	}
	for page, tests := range named {
		for _, name := range tests {
			if !there[name] {
				t.Errorf("%s: there is no %s", page, name)
			}
		}
	}
}
