-- Runs the failed tasks again, and those that depend on them, within the same run.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["dbrun.dev/repair-requested-at"] = os.date("!%Y-%m-%dT%XZ")
return obj
