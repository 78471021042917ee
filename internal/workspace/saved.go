package workspace

import (
	"encoding/json"
	"fmt"
	"time"
)

// savedPlan is what a Guard needs of a Plan, as bytes: names on disk need not be text.
type savedPlan struct {
	Workspace []byte       `json:"workspace"`
	Made      time.Time    `json:"made"`
	Partial   bool         `json:"partial,omitempty"`
	Known     [][]byte     `json:"known"`
	Watch     []savedName  `json:"watch"`
	Indexes   []savedIndex `json:"indexes,omitempty"`
	Configs   []savedFile  `json:"configs,omitempty"`
}

type savedFile struct {
	Path    []byte `json:"path"`
	Content []byte `json:"content"`
}

type savedName struct {
	Dir  []byte `json:"dir"`
	Name []byte `json:"name,omitempty"` // empty: the directory is watched, and this says nothing more
	Dev  uint64 `json:"dev,omitempty"`
	Ino  uint64 `json:"ino,omitempty"`
	Link bool   `json:"link,omitempty"`
}

type savedIndex struct {
	Path []byte `json:"path"`
	Top  []byte `json:"top"`
	Hash int    `json:"hash"`
}

// Save is what RestorePlan reads.
func (p Plan) Save() ([]byte, error) {
	s := savedPlan{Workspace: []byte(p.ws), Made: p.made, Partial: p.partial}
	for dir := range p.known {
		s.Known = append(s.Known, []byte(dir))
	}
	for dir, names := range p.watch {
		s.Watch = append(s.Watch, savedName{Dir: []byte(dir)})
		for name, f := range names {
			s.Watch = append(s.Watch, savedName{[]byte(dir), []byte(name), f.dev, f.ino, f.link})
		}
	}
	for _, ix := range p.indexes {
		s.Indexes = append(s.Indexes, savedIndex{[]byte(ix.path), []byte(ix.top), ix.hash})
	}
	for path, content := range p.configs {
		s.Configs = append(s.Configs, savedFile{[]byte(path), content})
	}
	return json.Marshal(s)
}

// RestorePlan returns a Plan that is good for a Guard, without mounts and notices: with it the last look can be
// had that a guard owes which was killed.
func RestorePlan(data []byte) (Plan, error) {
	var s savedPlan
	if err := json.Unmarshal(data, &s); err != nil {
		return Plan{}, fmt.Errorf("cannot read a saved plan: %w", err)
	}
	p := Plan{ws: string(s.Workspace), made: s.Made, partial: s.Partial, watch: map[string]map[string]file{}, known: map[string]bool{}, configs: map[string][]byte{}}
	for _, c := range s.Configs {
		p.configs[string(c.Path)] = c.Content
	}
	for _, dir := range s.Known {
		p.known[string(dir)] = true
	}
	for _, n := range s.Watch {
		dir := string(n.Dir)
		if p.watch[dir] == nil {
			p.watch[dir] = map[string]file{}
		}
		if len(n.Name) > 0 {
			p.watch[dir][string(n.Name)] = file{n.Dev, n.Ino, n.Link}
		}
	}
	for _, ix := range s.Indexes {
		p.indexes = append(p.indexes, indexFile{string(ix.Path), string(ix.Top), ix.Hash})
	}
	return p, nil
}
