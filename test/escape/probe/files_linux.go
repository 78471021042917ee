package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// descriptors lists what the process has open beyond its streams, and looks through directories.
func descriptors([]string) error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	found := errors.New("nothing but streams")
	for _, e := range entries {
		link := "/proc/self/fd/" + e.Name()
		target, err := os.Readlink(link)
		if err != nil || strings.HasPrefix(target, "/proc/") || strings.HasPrefix(target, "anon_inode:") {
			continue // the listing itself, and this program's runtime
		}
		if strings.HasPrefix(target, "pipe:") || strings.HasPrefix(target, "/dev/") && e.Name() <= "2" && len(e.Name()) == 1 {
			continue
		}
		fmt.Println("open:", e.Name(), target)
		if above, err := os.ReadDir(link + "/.."); err == nil {
			fmt.Println("leads to", len(above), "entries")
		}
		found = nil
	}
	return found
}

// executables DURATION PROGRAM tries to overwrite PROGRAM, a path or its end, through the processes that run it, while others
// start. It touches no other: outside, where it is the control, everybody's processes can be seen.
func executables(args []string) error {
	limit, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	tried, kept := 0, map[string]int{}
	for end := time.Now().Add(limit); time.Now().Before(end); {
		links, _ := filepath.Glob("/proc/[0-9]*/exe")
		for _, link := range links {
			target, err := os.Readlink(link)
			if err != nil || !strings.HasSuffix(target, args[1]) {
				continue
			}
			tried++
			// Kept as a path now, it may be writable when the process runs another program.
			if fd, err := unix.Open(link, unix.O_PATH|unix.O_CLOEXEC, 0); err == nil && kept[target] == 0 {
				kept[target] = fd
			}
		}
		for _, fd := range kept {
			if f, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_WRONLY|unix.O_APPEND|unix.O_CLOEXEC, 0); err == nil {
				_, err = unix.Write(f, []byte("OVERWRITTEN"))
				unix.Close(f)
				if err == nil {
					return nil
				}
			}
		}
	}
	return fmt.Errorf("%d looks, %d kept", tried, len(kept))
}

// memfd runs PROGRAM ARG... from memory, without a name.
func memfd(args []string) error {
	data, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	fd, err := unix.MemfdCreate("nameless", 0)
	if err != nil {
		return err
	}
	if _, err := unix.Write(fd, data); err != nil {
		return err
	}
	out, err := exec.Command(fmt.Sprintf("/proc/self/fd/%d", fd), args[1:]...).CombinedOutput()
	fmt.Print(string(out))
	return errors.Join(err, errAsked)
}

// link OLD NEW makes a hard link in every way there is.
func link(args []string) error {
	fd, err := unix.Open(args[0], unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return anyOf(
		unix.Link(args[0], args[1]),
		unix.Linkat(fd, "", unix.AT_FDCWD, args[1], unix.AT_EMPTY_PATH),
		unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, args[1], unix.AT_SYMLINK_FOLLOW))
}

// exchange A B swaps two names.
func exchange(args []string) error {
	return unix.Renameat2(unix.AT_FDCWD, args[0], unix.AT_FDCWD, args[1], unix.RENAME_EXCHANGE)
}

// supervisor attacks process 1, of which only killing may succeed: that ends everything.
func supervisor([]string) error {
	read := func(name string) error {
		_, err := os.ReadFile("/proc/1/" + name)
		return err
	}
	list := func(name string) error {
		_, err := os.ReadDir("/proc/1/" + name)
		return err
	}
	write := func(name string) error {
		f, err := os.OpenFile("/proc/1/"+name, os.O_WRONLY, 0)
		if err == nil {
			f.Close()
		}
		return err
	}
	return anyOf(read("mem"), read("environ"), read("maps"), read("auxv"), list("fd"), list("map_files"), list("root/"), list("cwd/"),
		write("mem"), write("oom_score_adj"), write("exe"))
}

// threads starts a hundred, and mapMemory maps and protects some pages: what every program does.
func threads([]string) error {
	done := make(chan bool)
	for range 100 {
		go func() {
			runtime.LockOSThread()
			done <- true
		}()
	}
	for range 100 {
		<-done
	}
	return nil
}

func mapMemory([]string) error {
	b, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	return errors.Join(unix.Mprotect(b, unix.PROT_READ), unix.Munmap(b))
}

// hammer A B DURATION swaps, renames and replaces without pause, and says how often it tried and won.
func hammer(args []string) error {
	limit, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	tried, won := 0, 0
	for end := time.Now().Add(limit); time.Now().Before(end); tried++ {
		if tried%2 == 0 {
			if err := os.WriteFile(args[0], []byte("evil\n"), 0o644); err != nil {
				return err
			}
		}
		flags := []uint{unix.RENAME_EXCHANGE, 0}[tried%2]
		if unix.Renameat2(unix.AT_FDCWD, args[0], unix.AT_FDCWD, args[1], flags) == nil {
			won++
		}
	}
	fmt.Printf("TRIED %d WON %d\n", tried, won)
	return errAsked
}
