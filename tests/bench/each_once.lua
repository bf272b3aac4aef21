-- Another token in each request; stops when every token was used.
local requests, sent, answered, wanted = {}, 0, 0, 0

function init(args)
  for token in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("GET", nil, { ["Authorization"] = "Bearer " .. token })
  end
  wanted = tonumber(args[2])
end

function request()
  sent = sent + 1
  return requests[(sent - 1) % #requests + 1]
end

function response()
  answered = answered + 1
  if answered >= wanted then wrk.thread:stop() end
end
