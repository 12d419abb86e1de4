-- Nothing starts any more; a live run is cancelled.
obj.spec.suspend = true
return obj
