-- Asks for one more run of the same request.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["dbrun.dev/rerun-requested-at"] = os.date("!%Y-%m-%dT%XZ")
return obj
