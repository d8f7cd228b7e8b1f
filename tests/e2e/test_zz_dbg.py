import asyncio
from tests.e2e.evm_scene import evm_scene, Deployment
from tests.e2e.test_evm_adapter import hold
def test_x(module_anvil):
    dep=Deployment.on(module_anvil())
    async def whole():
        async with evm_scene(dep) as scene:
            resolved = await hold(scene, "calldata")
            found,_ = await scene.perform(scene.task(resolved))
            task=scene.task(resolved,"confirm",forward=found.facts)
            prepared, attempt = await scene.attempt(task)
            said=await scene.send(prepared)
            print(said)
            for _ in range(3):
                scene.changed.clear()
                print("SEEN", len(scene.events), scene.adapter.clock(), await scene.adapter.observe(task,[attempt]))
                try: await asyncio.wait_for(scene.changed.wait(), 3)
                except TimeoutError: print("nothing")
            print(scene.failure, scene.events[-1])
            r=scene.rpc("eth_getTransactionReceipt", prepared.tx_id); print(r)
            print(await scene.adapter.observe(task,[attempt]))
            print(scene.rpc("txpool_status"))
    asyncio.run(whole())
