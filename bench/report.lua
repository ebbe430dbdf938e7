-- For wrk: requests of the paths in the file $PATHS, in turn, and one line of
-- results: requests, bytes, microseconds, and what went wrong.

local requests = {}
local i = 0

init = function(args)
   for path in io.lines(os.getenv("PATHS")) do
      requests[#requests + 1] = wrk.format("GET", path)
   end
end

request = function()
   i = i % #requests + 1
   return requests[i]
end

done = function(summary, latency, _)
   local e = summary.errors

   io.write(string.format("result %d %d %d %d\n", summary.requests,
            summary.bytes, summary.duration,
            e.connect + e.read + e.write + e.status + e.timeout))
end
