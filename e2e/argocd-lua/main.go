// Runs Lua scripts on Kubernetes objects as Argo CD does: in the same virtual machine, with the same libraries and the same
// limit of time; and compares what an action returns with the object in the same way, with the same package.
//
// Reads requests from standard input, one JSON object after another, and answers each with one line of JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"time"

	jsonpatch "github.com/evanphx/json-patch"
	lua "github.com/yuin/gopher-lua"
	luajson "layeh.com/gopher-json"
)

// How long a script may take.
const limit = time.Second

type request struct {
	Script string          `json:"script"`
	Object json.RawMessage `json:"object"`
}

type answer struct {
	// What the script returned.
	Returned json.RawMessage `json:"returned,omitempty"`
	// The merge patch that is sent if the script is an action, and what it returned an object.
	Patch json.RawMessage `json:"patch,omitempty"`
	Error string          `json:"error,omitempty"`
}

func main() {
	requests, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var asked request
		if err := requests.Decode(&asked); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			fail("a request cannot be read", err)
		}
		given, err := handle(asked)
		if err != nil {
			given = answer{Error: err.Error()}
		}
		if err := answers.Encode(given); err != nil {
			fail("an answer cannot be written", err)
		}
	}
}

func fail(what string, err error) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
	os.Exit(1)
}

func handle(asked request) (answer, error) {
	var before map[string]any
	if err := json.Unmarshal(asked.Object, &before); err != nil {
		return answer{}, err
	}
	returned, err := run(asked.Script, before)
	if err != nil {
		return answer{}, err
	}
	given := answer{Returned: returned}
	var after map[string]any
	if json.Unmarshal(returned, &after) != nil || after["apiVersion"] == nil {
		return given, nil
	}
	modified, err := json.Marshal(withEmptyObjects(after, before))
	if err != nil {
		return answer{}, err
	}
	// The original with its numbers as they are written, as the object that was read from the API server has them.
	given.Patch, err = jsonpatch.CreateMergePatch(asked.Object, modified)
	return given, err
}

// Runs a script with the object as the global `obj`.
func run(script string, object map[string]any) (json.RawMessage, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	if err := open(state); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("actionParams", state.NewTable())
	state.SetGlobal("obj", inLua(state, object))
	if err := state.DoString(script); err != nil {
		return nil, err
	}
	return luajson.Encode(state.Get(-1))
}

// Opens what scripts are given without `useOpenLibs`: the libraries package, base and table; and, of the library os, `time` and
// `date` for those who ask for it by `require("os")`.
func open(state *lua.LState) error {
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}, {lua.OsLibName, lua.OpenOs}} {
		call := lua.P{Fn: state.NewFunction(library.open), NRet: 0, Protect: true}
		if err := state.CallByParam(call, lua.LString(library.name)); err != nil {
			return err
		}
	}
	whole := state.GetGlobal(lua.OsLibName)
	safe := state.NewTable()
	for _, name := range []string{"time", "date"} {
		safe.RawSetString(name, state.GetField(whole, name))
	}
	state.SetGlobal(lua.OsLibName, lua.LNil)
	state.SetField(state.GetField(state.GetGlobal(lua.LoadLibName), "loaded"), lua.OsLibName, lua.LNil)
	state.PreloadModule(lua.OsLibName, func(state *lua.LState) int {
		state.Push(safe)
		return 1
	})
	return nil
}

// A value in Lua, where every number is a float and null is nothing.
func inLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case bool:
		return lua.LBool(value)
	case float64:
		return lua.LNumber(value)
	case string:
		return lua.LString(value)
	case []any:
		list := state.NewTable()
		for _, item := range value {
			list.Append(inLua(state, item))
		}
		return list
	case map[string]any:
		table := state.NewTable()
		for name, item := range value {
			table.RawSetString(name, inLua(state, item))
		}
		return table
	default:
		return lua.LNil
	}
}

// Lua has one kind of table: an empty object comes back as an empty list. Where the object had an empty object, or one that is
// empty now, it is made one again.
func withEmptyObjects(after, before any) any {
	switch before := before.(type) {
	case map[string]any:
		if list, ok := after.([]any); ok && len(list) == 0 {
			return map[string]any{}
		}
		if members, ok := after.(map[string]any); ok {
			for name, member := range members {
				if was, ok := before[name]; ok {
					members[name] = withEmptyObjects(member, was)
				}
			}
		}
	case []any:
		if items, ok := after.([]any); ok {
			for i := range min(len(items), len(before)) {
				// In a list, Argo CD leaves an empty list where an empty object was.
				if reflect.TypeOf(items[i]) == reflect.TypeOf(before[i]) {
					items[i] = withEmptyObjects(items[i], before[i])
				}
			}
		}
	}
	return after
}
