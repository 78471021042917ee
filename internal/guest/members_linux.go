package guest

import (
	"os"
	"strconv"
)

// sessionMembers lists the living processes of a POSIX session.
func sessionMembers(sid int) []member {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	var found []member
	for _, name := range names {
		if _, err := strconv.Atoi(name); err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue // it has just ended
		}
		if m, ended, err := parseStat(stat); err == nil && !ended && m.session == sid {
			found = append(found, m)
		}
	}
	return found
}
