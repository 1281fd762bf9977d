package main

import (
	"fmt"
	"os"
	"strings"
)

// completionLine is the variable in which a shell passes the line to complete.
const completionLine = "COMP_LINE"

// completionCmd is `clerkgate completion`.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: bash, zsh or fish."`
}

// Help returns how to use what the command prints.
func (*completionCmd) Help() string {
	return `Put one of these lines into the shell's init file:

  source <(clerkgate completion bash)
  source <(clerkgate completion zsh)
  clerkgate completion fish | source`
}

// completionCode is the code by which each shell asks the program at PATH, and completes names
// of files where the program has no answer.
var completionCode = map[string]string{
	"bash": "complete -o default -o bashdefault -C PATH clerkgate\n",
	"zsh": `(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
autoload -U +X bashcompinit && bashcompinit
complete -o default -o bashdefault -C PATH clerkgate
`,
	"fish": `function __complete_clerkgate
    set -lx COMP_LINE (commandline -cp)
    test -z (commandline -ct)
    and set COMP_LINE "$COMP_LINE "
    set -l found (PATH)
    if set -q found[1]
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -f -c clerkgate -a "(__complete_clerkgate)"
`,
}

// Run prints the code that turns completion on. The program itself finds the
// completions, so they are always those of its commands and flags.
func (c *completionCmd) Run(std streams) error {
	path, err := os.Executable()
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(std.out, strings.ReplaceAll(completionCode[c.Shell], "PATH", "'"+strings.ReplaceAll(path, "'", `'\''`)+"'"))
	return err
}
