-- Health of a workspace that runs refer to. Its status is in kstatus format: while something is missing that may come by
-- itself, such as a Secret, or while Databricks does not answer, it is in progress.

local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function health(code, kind)
  return {status = code, message = conditions[kind].message or ""}
end

if status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "Waiting for the operator to see this generation of the object"}
end
if conditions.Stalled ~= nil and conditions.Stalled.status == "True" then
  return health("Degraded", "Stalled")
end
if conditions.Ready ~= nil and conditions.Ready.status == "True" then
  return health("Healthy", "Ready")
end
if conditions.Ready ~= nil then
  return health("Progressing", "Ready")
end
return {status = "Progressing", message = "Waiting for the operator"}
