package guest

import (
	"slices"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

const (
	testPasswd = "# comment\nroot:x:0:0:root:/root:/bin/bash\n\nbroken:x:y:0::/:\nshort:x:5\nbuild:x:900:901:Build,,,:/srv/build:\n1234:x:77:78::/digits:/bin/sh"
	testGroup  = "root:x:0:\nstaff:x:50:build,agent\ndocker:x:998:agent\nodd:x:z:agent\n"
)

func TestUsersAreFoundInside(t *testing.T) {
	base := sandbox.User{Name: "agent", UID: 1000, GID: 1000, Home: "/home/agent", Shell: "/bin/bash"}
	for spec, want := range map[string]identity{
		"":           {base, []uint32{50, 998}},
		"agent":      {base, []uint32{50, 998}},
		"1000":       {base, []uint32{50, 998}},
		":50":        {sandbox.User{Name: "agent", UID: 1000, GID: 50, Home: "/home/agent", Shell: "/bin/bash"}, nil},
		"root":       {sandbox.User{Name: "root", Home: "/root", Shell: "/bin/bash"}, nil},
		"0":          {sandbox.User{Name: "root", Home: "/root", Shell: "/bin/bash"}, nil},
		"build":      {sandbox.User{Name: "build", UID: 900, GID: 901, Home: "/srv/build", Shell: "/bin/sh"}, []uint32{50}},
		"900:docker": {sandbox.User{Name: "build", UID: 900, GID: 998, Home: "/srv/build", Shell: "/bin/sh"}, nil},
		"1234":       {sandbox.User{Name: "1234", UID: 77, GID: 78, Home: "/digits", Shell: "/bin/sh"}, nil}, // a name first
		"4321:8":     {sandbox.User{Name: "4321", UID: 4321, GID: 8, Home: "/", Shell: "/bin/sh"}, nil},
	} {
		got, err := resolveUser(spec, base, testPasswd, testGroup)
		if err != nil || got.User != want.User || !slices.Equal(got.groups, want.groups) {
			t.Errorf("%q: got %+v, %v, want %+v", spec, got, err, want)
		}
	}
	for _, bad := range []string{"nobody", "broken", "short", "-1", "4294967295", "4294967296", "root:none", "root:", "root:-1", "root:4294967295", "# comment"} {
		if got, err := resolveUser(bad, base, testPasswd, testGroup); err == nil {
			t.Errorf("%q: got %+v", bad, got)
		}
	}
}

func FuzzResolveUser(f *testing.F) {
	f.Add("root", testPasswd, testGroup)
	f.Add("0:staff", testPasswd, testGroup)
	f.Add("::", ":::::::", "::::")
	base := sandbox.User{Name: "agent", UID: 1000, GID: 1000}
	f.Fuzz(func(t *testing.T, spec, passwd, group string) {
		who, err := resolveUser(spec, base, passwd, group)
		if err == nil && (who.UID < 0 || who.UID >= 1<<32-1 || who.GID < 0 || who.GID >= 1<<32-1) {
			t.Errorf("accepted %+v", who)
		}
	})
}
