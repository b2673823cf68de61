-- Like distinct.lua, with a pause before each request of a connection: the load does not depend on the server's speed.

dofile((debug.getinfo(1).source:sub(2):gsub("paced.lua$", "distinct.lua")))

function delay() return 10 end -- milliseconds
