-- Offers what would do something. What each command does at each stage of a run:
-- https://github.com/dbrun-dev/databricks-run-operator/blob/main/docs/run-lifecycle.md

local actions = {}
if obj.metadata.deletionTimestamp ~= nil then
  return actions
end

local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local reason = conditions.Ready ~= nil and conditions.Ready.reason or "Pending"
local ended = conditions.Finished ~= nil and conditions.Finished.status == "True"
local suspended = obj.spec.suspend == true
local free = not suspended and obj.spec.cancel ~= true
-- A token that is there before the first request is history, and would ask for nothing.
local seen = status.runKey ~= nil
-- Copied or restored: starts nothing until somebody asks for it.
local restored = reason == "Restored"

if (ended or restored) and free then
  actions["rerun"] = {["displayName"] = "Run again", ["iconClass"] = "fa fa-fw fa-redo"}
end
-- Databricks repairs runs of saved jobs, unless there was none, nothing of it failed, or it knows it no longer.
local broken = reason ~= "RunSucceeded" and reason ~= "RunNotFound"
if ended and broken and free and status.runId ~= nil and obj.spec.runNow ~= nil then
  actions["repair"] = {["displayName"] = "Repair what failed", ["iconClass"] = "fa fa-fw fa-recycle"}
end
if seen and not ended and not restored and reason ~= "Canceling" then
  actions["cancel"] = {["displayName"] = "Cancel", ["iconClass"] = "fa fa-fw fa-stop"}
end
if suspended then
  actions["resume"] = {["displayName"] = "Resume", ["iconClass"] = "fa fa-fw fa-play"}
elseif not ended and not restored then
  actions["suspend"] = {["displayName"] = "Suspend", ["iconClass"] = "fa fa-fw fa-pause"}
end

return actions
