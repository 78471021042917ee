package namespace

import (
	"encoding/json"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// Child is the hidden first argument with which the binary runs again as a machine's first process.
const Child = "namespace-init"

// plan is what the supervisor tells the child. It travels in a memory file, since a plan with its
// synthesised files outgrows a datagram.
type plan struct {
	Spec sandbox.Spec
	// Trees is how many host trees (see sources) arrive as descriptors. When none does the child opens them
	// by path itself.
	Trees int
	// Users says that a range of ids is mapped, so that inside root exists and other users can be had.
	Users bool
}

// source is one host tree that the plan needs.
type source struct {
	path   string
	system bool // belongs to the host system: inside, its owners are the same ids
	state  bool // lies in the machine's own directory: already owned by ids of the inside
}

// sources lists the host trees of spec in the order in which both sides count them: the machine's own
// layers, then those of the root's Layers, Lowers and Binds, then those of the Mounts that have one.
func sources(spec *sandbox.Spec) []source {
	list := []source{{path: spec.Dir + "/" + layersDir, state: true}}
	for _, l := range spec.Root.Layers {
		list = append(list, source{path: l, system: true})
	}
	for _, l := range spec.Root.Lowers {
		list = append(list, source{path: l.Source, system: true})
	}
	for _, b := range spec.Root.Binds {
		list = append(list, source{path: b.Source, system: true})
	}
	for _, m := range spec.Mounts {
		switch m.Kind {
		case sandbox.MountBind:
			list = append(list, source{path: m.Source})
		case sandbox.MountState:
			list = append(list, source{path: spec.Dir + "/" + m.Source, state: true})
		case sandbox.MountOverlay:
			list = append(list, source{path: m.Source}, source{path: spec.Dir + "/" + m.Layer, state: true})
		}
	}
	return list
}

// hasDisk says whether the machine's own directories lie on a disk of limited size. It is then handed over in
// their place, before all other trees.
func hasDisk(spec *sandbox.Spec) bool { return spec.Limits.Disk != 0 }

// layersDir, in the machine's directory, holds upper/ and work/ of every overlay.
const layersDir = "layers"

// report is what the child says when the sandbox stands, or why it does not.
type report struct {
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
}

func (r report) encode() []byte {
	b, err := json.Marshal(r)
	if err != nil {
		return []byte(`{"error":"the child's report cannot be encoded"}`)
	}
	return b
}
