// Measures diskv 3, which kubectl keeps its HTTP cache with: diskv DIRECTORY KEYS SIZE prints the nanoseconds of a write,
// a read, a look and a key of a listing.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/peterbourgon/diskv"
)

func main() {
	dir := os.Args[1]
	keys, _ := strconv.Atoi(os.Args[2])
	size, _ := strconv.Atoi(os.Args[3])
	// As client-go configures it.
	store := diskv.New(diskv.Options{
		PathPerm: os.FileMode(0750),
		FilePerm: os.FileMode(0660),
		BasePath: dir,
		TempDir:  dir + "/.diskv-temp",
	})
	value := make([]byte, size)
	for i := range value {
		value[i] = byte(i)
	}
	name := func(i int) string { return fmt.Sprintf("key-%08d", i) }
	measure := func(what string, work func(i int) error) {
		start := time.Now()
		for i := 0; i < keys; i++ {
			if err := work(i); err != nil {
				fmt.Fprintln(os.Stderr, what, err)
				os.Exit(1)
			}
		}
		fmt.Println(what, time.Since(start).Nanoseconds()/int64(keys))
	}
	measure("write", func(i int) error { return store.Write(name(i), value) })
	measure("read", func(i int) error {
		found, err := store.Read(name(i))
		if err == nil && len(found) != size {
			err = fmt.Errorf("%d bytes", len(found))
		}
		return err
	})
	measure("has", func(i int) error {
		if !store.Has(name(i)) {
			return fmt.Errorf("it is not there")
		}
		return nil
	})
	start := time.Now()
	count := 0
	for range store.Keys(nil) {
		count++
	}
	if count < keys {
		fmt.Fprintln(os.Stderr, "keys", count)
		os.Exit(1)
	}
	fmt.Println("keys", time.Since(start).Nanoseconds()/int64(keys))
}
