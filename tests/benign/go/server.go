// SPDX-License-Identifier: Apache-2.0

// An ordinary service in Go, one static program; /do?what=NAME does a deed.
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
)

func goroutines() error {
	var group sync.WaitGroup
	for i := 0; i < 2000; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			runtime.Gosched()
			time.Sleep(time.Millisecond)
		}()
	}
	group.Wait()
	return nil
}

// Calls that block keep a thread each.
func blockedThreads() error {
	var group sync.WaitGroup
	for i := 0; i < 24; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			wait := syscall.Timespec{Nsec: 20000000}
			_ = syscall.Nanosleep(&wait, nil)
		}()
	}
	group.Wait()
	return nil
}

func collectGarbage() error {
	kept := make([][]byte, 64)
	for i := 0; i < 2000; i++ {
		kept[i%64] = make([]byte, 1<<16)
	}
	runtime.GC()
	debug.FreeOSMemory()
	return nil
}

func lookUp() error {
	_, err := net.LookupHost("peer.service.dnode")
	return err
}

func fetch() error {
	client := http.Client{Timeout: 5 * time.Second}
	answer, err := client.Get("http://peer.service.dnode/")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

func listenAgain() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		link, err := listener.Accept()
		if err == nil {
			link.Close()
		}
	}()
	link, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return err
	}
	link.Close()
	return listener.Close()
}

// os/exec of the one program that the image has.
func execute() error {
	wait, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	said, err := exec.CommandContext(wait, "/bin/server", "-version").Output()
	if err == nil && string(said) != "1\n" {
		err = fmt.Errorf("it said %q", said)
	}
	return err
}

func signals() error {
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGHUP)
	defer signal.Stop(heard)
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		return err
	}
	select {
	case <-heard:
		return nil
	case <-time.After(5 * time.Second):
		return fmt.Errorf("no signal came")
	}
}

func files() error {
	file, err := os.CreateTemp("", "deed")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(file, hash), strings.NewReader(strings.Repeat("x", 1<<20)))
	return err
}

func interfaces() error {
	list, err := net.InterfaceAddrs()
	if err == nil && len(list) < 2 {
		err = fmt.Errorf("only %v", list)
	}
	return err
}

var deeds = map[string]func() error{
	"goroutines": goroutines, "blocked-threads": blockedThreads, "collect-garbage": collectGarbage,
	"look-up": lookUp, "fetch-from-a-peer": fetch, "listen-on-loopback": listenAgain,
	"os-exec": execute, "signals": signals, "files": files, "interfaces": interfaces,
}

func do(answer http.ResponseWriter, request *http.Request) {
	what := request.URL.Query().Get("what")
	deed, known := deeds[what]
	if !known {
		http.NotFound(answer, request)
		return
	}
	if err := deed(); err != nil {
		http.Error(answer, what+": "+err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(answer, "did %s\n", what)
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "-version" {
		fmt.Println("1")
		return
	}
	http.HandleFunc("/do", do)
	http.HandleFunc("/list", func(answer http.ResponseWriter, _ *http.Request) {
		names := make([]string, 0, len(deeds))
		for name := range deeds {
			names = append(names, name)
		}
		sort.Strings(names)
		fmt.Fprintln(answer, strings.Join(names, "\n"))
	})
	http.HandleFunc("/", func(answer http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(answer, "ok")
	})
	fmt.Fprintln(os.Stderr, http.ListenAndServe(":8080", nil))
	os.Exit(1)
}
