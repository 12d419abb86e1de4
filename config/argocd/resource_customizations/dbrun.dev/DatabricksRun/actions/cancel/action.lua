-- Cancels what is under way, once. What it finds no longer under way stays as it is.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["dbrun.dev/cancel-requested-at"] = os.date("!%Y-%m-%dT%XZ")
return obj
