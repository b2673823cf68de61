-- As distinct.lua, with a pause before each request of a connection: a load that does not depend on who answers.

dofile((debug.getinfo(1).source:sub(2):gsub("paced.lua$", "distinct.lua")))

function delay() return 10 end -- milliseconds
