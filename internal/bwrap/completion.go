package bwrap

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// shells are those that completion knows.
var shells = []string{"bash", "zsh", "fish"}

// argument is what the word that an option's table calls by a name may be.
type argument struct {
	files bool
	words []string
}

func argumentOf(name string) (a argument) {
	switch name {
	case "SRC", "DEST", "RWSRC", "WORKDIR", "DIR", "PATH":
		a.files = true
	case "PROFILE":
		a.files, a.words = true, []string{"default", "build", "strict", "docker"}
	case "CAP":
		a.words = append([]string{"ALL"}, plan.CapabilityNames(^uint64(0))...)
	case "SHELL":
		a.words = shells
	}
	return a
}

// completion is a script by which a shell completes the command line of bwrap.
func completion(shell string) (string, bool) {
	switch shell {
	case "bash":
		return completionBash(), true
	case "zsh":
		return completionZsh(), true
	case "fish":
		return completionFish(), true
	}
	return "", false
}

// completionBash goes through the words before the one that is completed, as the parser does.
func completionBash() string {
	var names []string
	var cases, kinds strings.Builder
	for i := range options {
		o := &options[i]
		names = append(names, o.name)
		args := strings.Fields(o.args)
		if len(args) > 0 {
			fmt.Fprintf(&cases, "\t\t%s) n=%d ;;\n", o.name, len(args))
		}
		for k, name := range args {
			a := argumentOf(name)
			if !a.files && a.words == nil {
				continue
			}
			fmt.Fprintf(&kinds, "\t\t\t%s:%d) ", o.name, k+1)
			if a.words != nil {
				fmt.Fprintf(&kinds, "mapfile -t COMPREPLY < <(compgen -W '%s' -- \"$cur\"); ", strings.Join(a.words, " "))
			}
			if a.files {
				kinds.WriteString("files; ")
			}
			kinds.WriteString(";;\n")
		}
	}
	return `# bash completion for bwrap, made by bwrap --cloche-completion bash
_bwrap() {
	local cur=${COMP_WORDS[COMP_CWORD]} i=1 n found
	files() {
		compopt -o filenames 2>/dev/null
		mapfile -t found < <(compgen -f -- "$cur")
		COMPREPLY+=("${found[@]}")
	}
	COMPREPLY=()
	while ((i < COMP_CWORD)); do
		n=0
		case ${COMP_WORDS[i]} in
		--) ((i++)); break ;;
` + cases.String() + `		-*) ;;
		*) break ;;
		esac
		if ((i + n >= COMP_CWORD)); then
			case ${COMP_WORDS[i]}:$((COMP_CWORD - i)) in
` + kinds.String() + `			esac
			return
		fi
		((i += n + 1))
	done
	if ((i < COMP_CWORD)); then
		files
	elif [[ $cur == -* && ${COMP_WORDS[i-1]} != -- ]]; then
		mapfile -t COMPREPLY < <(compgen -W '` + strings.Join(names, " ") + `' -- "$cur")
	else
		mapfile -t COMPREPLY < <(compgen -c -- "$cur")
	fi
}
complete -F _bwrap bwrap
`
}

func completionZsh() string {
	var b strings.Builder
	b.WriteString("#compdef bwrap\n# zsh completion for bwrap, made by bwrap --cloche-completion zsh\n_arguments -S \\\n")
	for i := range options {
		o := &options[i]
		fmt.Fprintf(&b, "\t'*%s[%s]", o.name, strings.NewReplacer("[", `\[`, "]", `\]`, "'", `'\''`, ":", `\:`).Replace(o.help))
		for name := range strings.FieldsSeq(o.args) {
			a := argumentOf(name)
			action := " "
			switch {
			case a.words != nil && a.files:
				action = "_alternative \"profiles:profile:(" + strings.Join(a.words, " ") + ")\" \"files:file:_files\""
			case a.words != nil:
				action = "(" + strings.Join(a.words, " ") + ")"
			case a.files:
				action = "_files"
			}
			fmt.Fprintf(&b, ":%s:%s", name, action)
		}
		b.WriteString("' \\\n")
	}
	b.WriteString("\t'(-):command:_command_names -e' \\\n\t'*::arguments:_normal'\n")
	return b.String()
}

func completionFish() string {
	var b strings.Builder
	b.WriteString("# fish completion for bwrap, made by bwrap --cloche-completion fish\n")
	for i := range options {
		o := &options[i]
		fmt.Fprintf(&b, "complete -c bwrap -l %s -d '%s'", o.name[2:], strings.ReplaceAll(o.help, "'", `\'`))
		if args := strings.Fields(o.args); len(args) > 0 {
			a := argumentOf(args[0])
			switch {
			case a.files:
				b.WriteString(" -r -F")
			case a.words != nil:
				b.WriteString(" -x -a '" + strings.Join(a.words, " ") + "'")
			default:
				b.WriteString(" -x")
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// completionFor is the option that prints one.
func (p *parser) completionFor(_ *option, a []string) error {
	if !slices.Contains(shells, a[0]) {
		return said("--cloche-completion takes bash, zsh or fish")
	}
	p.inv.Completion = a[0]
	return errStop
}
