-- What was held starts; a run that was cancelled by the suspension starts anew.
obj.spec.suspend = false
return obj
