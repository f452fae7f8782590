// Renders Go templates as Ollama does, for the tests: the same functions of text/template, the same merged messages.
package main

import (
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

type message struct{ Role, Content string }

type task struct {
	Template string
	Messages []*message
}

type result struct {
	Text  string
	Error string
}

func merged(all []*message) []*message {
	var found []*message
	for _, one := range all {
		if last := len(found) - 1; last >= 0 && found[last].Role == one.Role {
			found[last].Content += "\n\n" + one.Content
			continue
		}
		found = append(found, one)
	}
	return found
}

func render(one task) result {
	made, err := template.New("").Option("missingkey=zero").Parse(one.Template)
	if err != nil {
		return result{Error: err.Error()}
	}
	var text strings.Builder
	values := map[string]any{"Messages": merged(one.Messages), "System": "", "Response": ""}
	if err := made.Execute(&text, values); err != nil {
		return result{Error: err.Error()}
	}
	return result{Text: text.String()}
}

func main() {
	var tasks []task
	if err := json.NewDecoder(os.Stdin).Decode(&tasks); err != nil {
		panic(err)
	}
	var results []result
	for _, one := range tasks {
		results = append(results, render(one))
	}
	json.NewEncoder(os.Stdout).Encode(results)
}
