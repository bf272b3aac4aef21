// Decodes every object of manifests strictly by the Go types of its API, and says what about them must hold. Leaves
// scopeshim's configurations in OUTPUT for `scopeshim check`.
//
// usage: kubernetes kustomize FOLDER OUTPUT       builds the kustomizations `base` and `example`
//
//	kubernetes rendered OUTPUT FILE...       what `helm template` printed; a file is called by the values' name
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	kube "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

var failures int

func need(holds bool, format string, values ...any) {
	if !holds {
		failures++
		fmt.Fprintf(os.Stderr, "FAIL  "+format+"\n", values...)
	}
}

func kustomized(folder, name string) built {
	all := nothing(name)
	objects, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(folder, name))
	if err != nil {
		need(false, "%s: %v", name, err)
		return all
	}
	for _, object := range objects.Resources() {
		text, err := object.AsYAML()
		need(err == nil, "%s: %v", name, err)
		all.add(text)
	}
	all.told()
	return all
}

func rendered(file string) built {
	all := nothing(strings.TrimSuffix(filepath.Base(file), ".yaml"))
	text, err := os.Open(file)
	if err != nil {
		need(false, "%v", err)
		return all
	}
	defer text.Close()
	documents := kube.NewYAMLReader(bufio.NewReader(text))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		need(err == nil, "%s: %v", file, err)
		// A template that was switched off leaves an empty one.
		if len(bytes.TrimSpace(document)) > 0 {
			all.add(document)
		}
	}
	all.told()
	return all
}

func main() {
	words := os.Args[1:]
	switch {
	case len(words) == 3 && words[0] == "kustomize":
		for _, name := range []string{"base", "example"} {
			all := kustomized(words[1], name)
			all.judge(words[2])
			need(name != "example" || all.monitor != nil, "the example has no PodMonitor")
		}
	case len(words) > 2 && words[0] == "rendered":
		for _, file := range words[2:] {
			all := rendered(file)
			all.judge(words[1])
		}
	default:
		fmt.Fprintln(os.Stderr, "usage: kubernetes kustomize FOLDER OUTPUT\n       kubernetes rendered OUTPUT FILE...")
		os.Exit(64)
	}
	if failures > 0 {
		fmt.Printf("%d failed\n", failures)
		os.Exit(1)
	}
}
