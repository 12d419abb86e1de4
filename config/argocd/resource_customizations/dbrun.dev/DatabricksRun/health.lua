-- Health of a DatabricksRun, which is one run of a Databricks job and comes to an end. Its status is in kstatus format.
-- What its conditions say at each stage of a run:
-- https://github.com/dbrun-dev/databricks-run-operator/blob/main/docs/run-lifecycle.md

local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function is(kind, value)
  return conditions[kind] ~= nil and conditions[kind].status == value
end

-- What a condition says, with the link to the run.
local function health(code, kind)
  local message = conditions[kind].message or ""
  if status.runPageUrl ~= nil then
    message = message .. " - " .. status.runPageUrl
  end
  return {status = code, message = message}
end

local deleted = obj.metadata.deletionTimestamp ~= nil

if deleted and not is("Finished", "True") then
  -- Asked only of hooks, which Argo CD holds until they have ended. The operator holds the object while it cancels the run;
  -- after that nothing more becomes of it.
  for _, finalizer in ipairs(obj.metadata.finalizers or {}) do
    if finalizer == "dbrun.dev/run" then
      return {status = "Progressing", message = "The object is being deleted; its run is cancelled first"}
    end
  end
  return {status = "Degraded", message = "The object was deleted before its run had ended"}
end

-- A deletion counts as a generation, and nobody looks at a finished object again because of it.
if not deleted and status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "Waiting for the operator to see this generation of the object"}
end

-- Before Ready: a suspended run is Ready, as a suspended Job is.
if is("Ready", "True") and conditions.Ready.reason == "Suspended" then
  return {status = "Suspended", message = conditions.Ready.message or ""}
end
if is("Stalled", "True") then
  return health("Degraded", "Stalled")
end
if is("Ready", "True") then
  return health("Healthy", "Ready")
end
if conditions.Ready ~= nil then
  return health("Progressing", "Ready")
end
return {status = "Progressing", message = "Waiting for the operator"}
